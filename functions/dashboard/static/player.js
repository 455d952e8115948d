// The player: the waveform is the seek bar, speeds up to 2×, keys, and links that are renewed.

import { post, toast } from "./app.js";

const player = document.getElementById("player");
if (player) start(player);
document.addEventListener("player-added", () => start(document.getElementById("player")));

function start(player) {
  const audio = player.querySelector("audio");
  const deck = player.querySelector(".deck");
  const play = player.querySelector(".play");
  const slider = player.querySelector("input[type=range]");
  const position = player.querySelector(".position");
  const speed = player.querySelector(".speed");
  const wave = player.querySelector(".wave");
  const duration = Number(player.dataset.duration);
  const { key } = player.dataset;
  let renewed = 0;
  let at = 0;
  let wasPlaying = false;

  audio.controls = false;
  deck.hidden = false;
  const picture = `url("${player.dataset.waveform}")`;
  for (const layer of wave.children) layer.style.maskImage = picture;

  const clock = (seconds) => {
    const whole = Math.floor(seconds);
    const rest = String(whole % 60).padStart(2, "0");
    const minutes = Math.floor(whole / 60);
    return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
  };

  // Where the listener stopped, in this browser; not for a moment at either end.
  const place = `position:${key}`;
  const remember = (seconds) => {
    try {
      if (seconds > 10 && seconds < duration - 10) localStorage.setItem(place, String(seconds));
      else localStorage.removeItem(place);
    } catch { /* storage is off */ }
  };
  const resume = () => {
    try { seek(Number(localStorage.getItem(place) ?? 0)); } catch { /* storage is off */ }
  };
  if (audio.readyState > 0) resume();
  else audio.addEventListener("loadedmetadata", resume, { once: true });

  function show() {
    if (audio.readyState === 0) return; // loading, or failed: the position is not ours
    at = audio.currentTime;
    wasPlaying = !audio.paused && !audio.ended;
    slider.value = audio.currentTime;
    slider.setAttribute("aria-valuetext", `${clock(audio.currentTime)} of ${clock(duration)}`);
    position.textContent = clock(audio.currentTime);
    wave.style.setProperty("--played", `${(100 * audio.currentTime) / duration}%`);
    const playing = !audio.paused;
    deck.classList.toggle("playing", playing);
    play.setAttribute("aria-label", playing ? "Pause" : "Play");
  }

  function seek(seconds) {
    audio.currentTime = Math.min(duration, Math.max(0, seconds));
    show();
  }

  function setSpeed(value) {
    if (![...speed.options].some((option) => option.value === value)) return;
    speed.value = value;
    audio.defaultPlaybackRate = audio.playbackRate = Number(value);
    try { localStorage.setItem("speed", value); } catch { /* storage is off */ }
  }

  const toggle = () => {
    if (audio.paused) audio.play().catch(() => { /* the event "error" follows */ });
    else audio.pause();
  };

  // A link that has expired is renewed once in a while, and playing goes on where it was.
  audio.addEventListener("error", async () => {
    if (Date.now() - renewed < 5000) {
      toast("The audio cannot be played. Reload the page.");
      return;
    }
    renewed = Date.now();
    const [position, resume] = [at, wasPlaying];
    try {
      const link = await post(player.dataset.refresh, { key, lifetime: "day" });
      audio.src = link.url;
      audio.currentTime = position;
      setSpeed(speed.value);
      if (resume) await audio.play();
    } catch (error) {
      toast(error.message);
    }
  });

  for (const event of ["timeupdate", "ended"]) audio.addEventListener(event, () => remember(audio.currentTime));
  const pointed = player.querySelector(".pointed");
  player.querySelector(".seek").addEventListener("pointermove", (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const fraction = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    pointed.textContent = clock(fraction * duration);
    pointed.style.left = `${100 * fraction}%`;
  });
  for (const event of ["timeupdate", "seeked", "play", "pause", "ended"]) audio.addEventListener(event, show);
  play.addEventListener("click", toggle);
  slider.addEventListener("input", () => seek(Number(slider.value)));
  speed.addEventListener("change", () => setSpeed(speed.value));
  for (const button of player.querySelectorAll("[data-jump]")) {
    button.addEventListener("click", () => seek(audio.currentTime + Number(button.dataset.jump)));
  }
  try { setSpeed(localStorage.getItem("speed") ?? "1"); } catch { setSpeed("1"); }

  const step = (by) => setSpeed(speed.options[speed.selectedIndex + by]?.value ?? "");
  const keys = {
    k: toggle, " ": toggle, j: () => seek(audio.currentTime - 10), l: () => seek(audio.currentTime + 10),
    ArrowLeft: () => seek(audio.currentTime - 5), ArrowRight: () => seek(audio.currentTime + 5),
    "<": () => step(-1), ">": () => step(1),
  };
  document.addEventListener("keydown", (event) => {
    const own = event.target === slider;
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    if (!own && event.target.closest("input, select, textarea")) return;
    if (event.key === " " && event.target.closest("button, a, summary")) return;
    event.preventDefault();
    keys[event.key]();
  });

  if ("mediaSession" in navigator) {
    navigator.mediaSession.metadata = new MediaMetadata({ title: player.dataset.title, artist: "audio-pipeline" });
    navigator.mediaSession.setActionHandler("seekbackward", () => seek(audio.currentTime - 10));
    navigator.mediaSession.setActionHandler("seekforward", () => seek(audio.currentTime + 10));
  }
  show();

  // ── links to share ──

  const copy = document.getElementById("copy");
  const copied = document.getElementById("copied");
  copy.hidden = false;
  copy.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    button.disabled = true;
    try {
      const link = await post(player.dataset.refresh, { key, lifetime: button.dataset.lifetime });
      copied.hidden = false;
      copied.querySelector("output").textContent = new Date(link.expires_at).toLocaleString();
      copied.querySelector("input").value = link.url;
      await navigator.clipboard.writeText(link.url);
      toast(`Copied. The link works for a ${button.dataset.lifetime}.`);
    } catch (error) {
      if (copied.hidden) toast(error.message);
      else copied.querySelector("input").select();
    } finally {
      button.disabled = false;
      button.focus();
    }
  });
}
