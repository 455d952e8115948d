// What every page gets beyond plain HTML: times in the viewer's zone, live regions, keys.

const body = document.body;
const token = document.querySelector("meta[name=csrf-token]").content;

export function toast(text) {
  const place = document.getElementById("toast");
  const line = document.createElement("p");
  line.textContent = text;
  place.replaceChildren(line);
  setTimeout(() => line.remove(), 4000);
}

export async function post(url, data) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": token },
    body: JSON.stringify(data),
  });
  const result = await answer.json();
  if (!answer.ok) throw new Error(result.detail);
  return result;
}

// ── times ──

const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const short = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const ago = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

function relative(when) {
  const seconds = (when - Date.now()) / 1000;
  if (Math.abs(seconds) < 5) return ago.format(0, "second");
  const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size);
  return ago.format(Math.round(seconds / size), unit);
}

function showTimes(root) {
  for (const element of root.querySelectorAll("time[data-time], time[data-since]")) {
    const when = new Date(element.dateTime);
    const text = "since" in element.dataset ? relative(when) : short.format(when);
    if (element.textContent !== text) element.textContent = text;
    element.title = full.format(when);
  }
  // Times in a recording's name have no zone: they are shown as they were written.
  for (const element of root.querySelectorAll("time[data-named]")) {
    element.textContent = short.format(new Date(element.dateTime));
    element.title = "as in the recording's name";
  }
}

showTimes(document);
setInterval(() => showTimes(document), 15000);

// ── live regions: polled with an entity tag, and the page fetched again when something changed ──

const known = new Map();
let since = body.dataset.since;
let last = "";
let timer = 0;
let failures = 0;
const liveState = document.getElementById("live-state");

function say(text) {
  if (liveState.textContent !== text) liveState.textContent = text;
}

function showProgress(change) {
  const selector = CSS.escape(change.key);
  const bars = document.querySelectorAll(`[data-progress="${selector}"]`);
  if (change.status !== "PROCESSING" || bars.length === 0) return false;
  for (const bar of bars) bar.value = change.progress;
  for (const text of document.querySelectorAll(`[data-percent="${selector}"]`)) {
    text.textContent = `${Math.round(100 * change.progress)} %`;
  }
  return true;
}

async function poll() {
  const answer = await fetch(`${body.dataset.events}?since=${encodeURIComponent(since)}`, { cache: "no-cache" });
  if (!answer.ok) throw new Error(answer.statusText);
  const events = await answer.json();
  since = events.since;
  let stale = false;
  for (const change of events.changed) {
    if (known.get(change.key) === change.updated_at) continue;
    known.set(change.key, change.updated_at);
    stale = !showProgress(change) || stale;
  }
  const state = JSON.stringify([events.health, events.counts]);
  stale = stale || (last !== "" && last !== state);
  last = state;
  if (stale) await refresh();
  return events.counts.PROCESSING > 0; // empty while the tracker is down
}

async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  // A page that fails, since a component is down, still has the light of the menu.
  if (!answer.headers.get("Content-Type").startsWith("text/html")) throw new Error(answer.statusText);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  showTimes(fresh);
  addPlayer(fresh);
  const icon = fresh.querySelector("link[rel=icon]").getAttribute("href");
  document.querySelector("link[rel=icon]").setAttribute("href", icon);
  for (const region of document.querySelectorAll("[data-live]")) {
    const newer = fresh.getElementById(region.id);
    if (!newer || newer.innerHTML === region.innerHTML && newer.className === region.className) continue;
    replaceRegion(region, newer);
  }
}

// The player is added once, when the audio is there. To replace it would stop the sound.
function addPlayer(fresh) {
  if (!fresh.getElementById("player") || document.getElementById("player")) return;
  document.getElementById("sound")?.replaceChildren(...fresh.getElementById("sound").childNodes);
  document.dispatchEvent(new Event("player-added"));
}

// Keeps what the viewer is doing: the focus, ticked boxes and opened details.
function replaceRegion(region, newer) {
  const address = (element) => element.href || element.value || element.id || element.textContent;
  const focused = region.contains(document.activeElement) ? address(document.activeElement) : null;
  const ticked = new Set([...region.querySelectorAll("input:checked")].map((box) => box.value));
  const opened = [...region.querySelectorAll("details")].map((one) => one.open);
  region.className = newer.className;
  region.replaceChildren(...newer.childNodes);
  for (const box of region.querySelectorAll("input[type=checkbox]")) box.checked = ticked.has(box.value);
  region.querySelectorAll("details").forEach((one, index) => { one.open = opened[index] ?? false; });
  if (focused) [...region.querySelectorAll("a, button, input, summary")].find((one) => address(one) === focused)?.focus();
}

async function live() {
  clearTimeout(timer);
  let wait = 5000;
  try {
    if (await poll()) wait = 2000;
    failures = 0;
    say("Live");
  } catch {
    failures += 1;
    wait = Math.min(60000, 2000 * 2 ** failures);
    say("Not connected; trying again");
  }
  if (!document.hidden) timer = setTimeout(live, wait);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else live();
});
say("Connecting");
timer = setTimeout(live, 300);

// ── forms ──

const all = document.getElementById("pick-all");
if (all) {
  all.closest("label").hidden = false;
  all.addEventListener("change", () => {
    for (const box of document.querySelectorAll("input[name=keys]")) box.checked = all.checked;
  });
}

// With Shift, everything between the last box that was clicked and this one.
let lastBox = null;
document.addEventListener("click", (event) => {
  if (!event.target.matches("input[name=keys]")) return;
  const boxes = [...document.querySelectorAll("input[name=keys]")];
  const ends = [boxes.indexOf(lastBox), boxes.indexOf(event.target)].sort((one, other) => one - other);
  if (event.shiftKey && ends[0] >= 0) {
    for (const box of boxes.slice(ends[0], ends[1] + 1)) box.checked = event.target.checked;
  }
  lastBox = event.target;
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.id === "retry-picked" && !event.submitter?.name && !document.querySelector("input[name=keys]:checked")) {
    event.preventDefault();
    toast("Select at least one recording.");
  }
});

// A reload or a link must not repeat the notice of what a form did.
const shown = new URL(location.href);
if (shown.searchParams.has("retried")) {
  for (const name of ["retried", "refused", "more"]) shown.searchParams.delete(name);
  history.replaceState(null, "", shown);
}

// ── keys ──

const pages = { o: "/", r: "/recordings", n: "/nightly", h: "/health" };
const help = document.getElementById("keys");
document.getElementById("show-keys").hidden = false;
document.getElementById("show-keys").addEventListener("click", () => help.showModal());
let going = false;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=range]), select, textarea")) return;
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("search").select();
  } else if (event.key === "?" && !help.open) {
    help.showModal();
  } else if (going && pages[event.key]) {
    location.href = pages[event.key];
  }
  going = event.key === "g";
});
