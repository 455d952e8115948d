"""Deploying: the first time, again, and when it goes wrong."""

from __future__ import annotations

import re

import pytest

from tests.delivery.rig import IMAGE, PROJECT, Deployed, Rig, digest

pytestmark = pytest.mark.slow(50)


def order(calls: list[str], *patterns: str) -> list[int]:
    """Return where each pattern is first met after the one before it; fails if one is not."""
    found, start = [], 0
    for pattern in patterns:
        place = next((i for i in range(start, len(calls)) if re.search(pattern, calls[i])), None)
        assert place is not None, f"no {pattern!r} after {calls[:start]}"
        found.append(place)
        start = place + 1
    return found


def test_the_first_deployment_makes_everything_in_the_order_that_it_takes(rig: Rig) -> None:
    done = rig.run("deploy")

    assert done.returncode == 0, done.stdout + done.stderr
    order(
        rig.calls(),
        r"^gcloud services enable serviceusage\S+ cloudresourcemanager\S+ cloudbilling",
        r"^gcloud services enable artifactregistry\S+ .*run\.googleapis",
        r"^gcloud beta services identity create --service=iap",
        r"^gcloud beta services identity create --service=pubsub",
        rf"^gcloud storage buckets create gs://{PROJECT}-terraform-state .*--uniform-bucket-level"
        r"-access --public-access-prevention",
        r"^gcloud storage buckets update .* --versioning",
        rf"^terraform .* init .*-backend-config=bucket={PROJECT}-terraform-state",
        r"^terraform .* plan .*-var image= -var web_image=$",
        r"^terraform .* apply .*\.tfplan$",
        r"^gcloud beta builds submit .*serviceAccounts/audio-build@",
        r"^gcloud artifacts docker images list ",
        rf"^gcloud artifacts docker images scan {re.escape(digest(1))} ",
        rf"^gcloud artifacts docker images scan {re.escape(digest(1, 'web'))} ",
        rf"^terraform .* plan .*-var image={re.escape(digest(1))}"
        rf" -var web_image={re.escape(digest(1, 'web'))}$",
        r"^terraform .* apply .*\.tfplan$",
        r"^gcloud auth print-identity-token",
        r"^gcloud scheduler jobs run requeue ",
        r"^terraform .* output",
    )
    assert rig.deployed() == digest(1)
    assert "https://notify.example" in done.stdout


def test_a_second_deployment_of_the_same_changes_nothing(deployed: Rig) -> None:
    deployed.forget_calls()

    done = deployed.run("deploy")

    assert done.returncode == 0, done.stderr
    changing = r"builds submit|buckets (create|update)|terraform \S+ apply"
    assert [call for call in deployed.calls() if re.search(changing, call)] == []
    assert "Nothing to change." in done.stdout
    assert deployed.deployed() == digest(1)


def test_a_rebuild_of_the_same_sources_deploys_the_newer_digest_by_one_apply(deployed: Rig) -> None:
    deployed.forget_calls()

    done = deployed.run("deploy", REBUILD="1")

    assert done.returncode == 0, done.stderr
    assert deployed.deployed() == digest(2)
    assert len([call for call in deployed.calls() if re.search(r"terraform \S+ apply", call)]) == 1
    assert len(deployed.world["images"]) == 2


def test_only_a_changed_source_of_the_images_is_built_again(deployed: Rig) -> None:
    (deployed.checkout / "docs.md").write_text("not in the image")
    (deployed.checkout / "shared" / "__pycache__").mkdir()
    (deployed.checkout / "shared" / "__pycache__" / "a.pyc").write_text("nor this")
    assert deployed.run("build").returncode == 0
    assert len(deployed.world["images"]) == 1

    with (deployed.checkout / "shared" / "errors.py").open("a") as source:
        source.write("# changed\n")
    assert deployed.run("build").returncode == 0
    assert len(deployed.world["images"]) == 2


def test_a_failed_smoke_test_brings_the_earlier_image_back(
    deployed: Rig, service: type[Deployed]
) -> None:
    service.health = "down"

    done = deployed.run("deploy", REBUILD="1")

    assert done.returncode == 1
    assert "/health: 503" in done.stderr
    assert f"rolled back: {digest(1)}" in done.stderr
    assert deployed.deployed() == digest(1)


def test_a_webhook_that_is_not_public_fails_the_smoke_test(
    deployed: Rig, service: type[Deployed]
) -> None:
    service.public = False  # then a forgery is answered 403 too

    done = deployed.run("smoke")

    assert done.returncode == 1
    assert "notify: 403 to a GET" in done.stderr


def test_a_webhook_that_accepts_a_forgery_fails_the_smoke_test(
    deployed: Rig, service: type[Deployed]
) -> None:
    service.forgery = 204

    done = deployed.run("smoke")

    assert done.returncode == 1
    assert "notify: 204 to a forged notification" in done.stderr


def test_a_maintain_that_fails_fails_the_smoke_test(deployed: Rig) -> None:
    deployed.change(failed="13")

    done = deployed.run("smoke")

    assert done.returncode == 1
    assert "maintain" in done.stderr


def test_an_apply_that_breaks_brings_the_earlier_image_back(deployed: Rig) -> None:
    (deployed.terraform_dir / "broken").write_text(digest(2))

    done = deployed.run("deploy", REBUILD="1")

    assert done.returncode == 1
    assert "rolled back" in done.stderr
    assert deployed.deployed() == digest(1)


def test_the_first_deployment_reports_that_there_is_no_earlier_image(
    rig: Rig, service: type[Deployed]
) -> None:
    service.health = "down"

    done = rig.run("deploy")

    assert done.returncode == 1
    assert "no earlier image" in done.stderr
    assert rig.deployed() == digest(1)


@pytest.mark.parametrize(
    ("found", "stops"),
    [
        ("CRITICAL,True,projects/goog-vulnz/notes/CVE-2026-1", True),
        ("CRITICAL,,projects/goog-vulnz/notes/CVE-2026-1", False),
        ("HIGH,True,projects/goog-vulnz/notes/CVE-2026-1", False),
    ],
)
def test_a_critical_vulnerability_with_a_fix_stops_before_the_plan(
    rig: Rig, found: str, stops: bool
) -> None:
    rig.change(vulnerabilities=f"LOW,True,projects/goog-vulnz/notes/CVE-1\n{found}")

    done = rig.run("deploy")

    assert (done.returncode == 1) is stops
    assert ("CVE-2026-1" in done.stderr) is stops
    assert any(f"image={IMAGE}" in call for call in rig.calls()) is not stops


def test_the_scan_can_be_switched_off_and_reports_it(rig: Rig) -> None:
    rig.change(vulnerabilities="CRITICAL,True,projects/goog-vulnz/notes/CVE-2026-1")

    done = rig.run("deploy", SCAN="off")

    assert done.returncode == 0, done.stderr
    assert "NOT scanned" in done.stdout


def test_without_a_yes_nothing_is_applied(rig: Rig) -> None:
    done = rig.run("deploy", YES="", typed="no\n")

    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert not [call for call in rig.calls() if re.search(r"terraform \S+ apply", call)]


def test_a_yes_applies(rig: Rig) -> None:
    done = rig.run("deploy", YES="", typed="yes\nyes\n")

    assert done.returncode == 0, done.stderr
    assert rig.deployed() == digest(1)


def test_a_state_that_cannot_be_read_stops_before_it_is_taken_for_an_empty_one(
    deployed: Rig,
) -> None:
    recorder = deployed.bin / "terraform"
    recorder.rename(deployed.bin / "terraform-recorder")
    recorder.write_text(
        '#!/bin/sh\ncase "$*" in *"state pull"*) exit 1 ;; esac\nexec terraform-recorder "$@"\n'
    )
    recorder.chmod(0o755)
    deployed.forget_calls()

    done = deployed.run("deploy")

    assert done.returncode == 1
    assert "cannot be read" in done.stderr
    assert not [call for call in deployed.calls() if re.search(r"terraform \S+ (plan|apply)", call)]


def test_a_registry_that_cannot_be_read_is_not_taken_for_an_empty_one(rig: Rig) -> None:
    rig.change(broken=["artifacts docker images list"])

    done = rig.run("deploy")

    assert done.returncode != 0
    assert not [call for call in rig.calls() if "builds submit" in call]


def test_a_bucket_of_a_longer_name_is_not_taken_for_the_states_bucket(rig: Rig) -> None:
    rig.change(buckets={f"{PROJECT}-terraform-state-old": "True"})

    assert rig.run("bootstrap").returncode == 0
    assert rig.world["buckets"][f"{PROJECT}-terraform-state"] == "True"


def test_a_first_apply_that_fails_for_a_moment_is_tried_again(rig: Rig) -> None:
    (rig.terraform_dir / "flaky").write_text("2")  # fails twice

    done = rig.run("deploy")

    assert done.returncode == 0, done.stderr
    assert "Attempt 3 of 3" in done.stdout
    assert rig.deployed() == digest(1)


def test_a_first_apply_that_fails_three_times_fails(rig: Rig) -> None:
    (rig.terraform_dir / "flaky").write_text("9")

    done = rig.run("deploy")

    assert done.returncode == 1
    assert "failed three times" in done.stderr
    assert not [call for call in rig.calls() if "builds submit" in call]


def test_a_later_apply_that_fails_is_not_tried_again(deployed: Rig) -> None:
    (deployed.terraform_dir / "broken").write_text(digest(2))

    done = deployed.run("deploy", REBUILD="1")

    assert done.returncode == 1
    assert "Attempt" not in done.stdout


def test_an_environment_is_not_deployed_over_another(rig: Rig) -> None:
    assert rig.run("deploy", ENV="prod").returncode == 0
    rig.forget_calls()

    done = rig.run("deploy")  # ENV=dev, the default

    assert done.returncode == 2
    assert f"{PROJECT} contains prod, not dev" in done.stderr
    assert not [call for call in rig.calls() if re.search(r"terraform \S+ (plan|apply)", call)]


def test_your_own_values_win_over_the_example(rig: Rig) -> None:
    (rig.terraform_dir / "environments" / "dev.local.tfvars").write_text("# nothing yet\n")

    assert rig.run("deploy").returncode == 0
    plans = [call for call in rig.calls() if re.search(r"terraform \S+ plan", call)]
    assert plans
    for call in plans:
        files = re.findall(r"-var-file=environments/(\S+)", call)
        assert files == ["dev.tfvars", "dev.local.tfvars"]


def test_a_plan_shows_the_changes_without_applying_them(deployed: Rig) -> None:
    deployed.forget_calls()
    (deployed.terraform_dir / "more.tf").write_text('resource "terraform_data" "more" {}\n')

    done = deployed.run("plan_only")

    assert done.returncode == 0, done.stderr
    assert "terraform_data.more will be created" in done.stdout
    assert not [call for call in deployed.calls() if re.search(r"apply|builds submit|enable", call)]
    assert not list((deployed.folder / "work").rglob("*.tfplan"))


def test_in_cloud_build_terraform_gets_its_own_token(rig: Rig) -> None:
    """From the metadata server, which is not here: the state's storage accepts anybody."""
    rig.run("bootstrap")
    rig.forget_calls()

    rig.run("init", TERRAFORM_LOGIN="metadata", GOOGLE_OAUTH_ACCESS_TOKEN="given")

    assert not [call for call in rig.calls() if "config-helper" in call]


def test_a_token_has_most_of_its_hour_left(deployed: Rig) -> None:
    tokens = [
        call for call in deployed.calls() if re.search("print-access-token|config-helper", call)
    ]
    assert [call for call in tokens if "config-helper --min-expiry=55m" in call]
    assert len([call for call in tokens if "print-access-token" in call]) == 1  # by check.sh


def test_a_bucket_whose_versions_an_earlier_run_did_not_come_to_gets_them(deployed: Rig) -> None:
    deployed.change(buckets={f"{PROJECT}-terraform-state": ""})

    assert deployed.run("bootstrap").returncode == 0
    assert deployed.world["buckets"] == {f"{PROJECT}-terraform-state": "True"}


@pytest.mark.parametrize("file", ["dev.tfvars", "dev.local.tfvars"])
def test_with_your_own_key_every_agent_that_encrypts_is_created(rig: Rig, file: str) -> None:
    variables = rig.terraform_dir / "environments" / file
    variables.write_text('kms_key_name = "projects/p/locations/l/keyRings/r/cryptoKeys/k"\n')

    assert rig.run("bootstrap").returncode == 0

    made = re.findall(r"identity create --service=(\w+)\.", "\n".join(rig.calls()))
    assert set(made) == {
        "artifactregistry",
        "cloudfunctions",
        "firestore",
        "iap",
        "pubsub",
        "run",
        "secretmanager",
    }
    assert f"gcloud storage service-agent --project={PROJECT}" in rig.calls()


def test_no_token_is_on_a_command_line(rig: Rig) -> None:
    rig.bin.joinpath("curl").write_text(
        f'#!/bin/sh\necho "curl $*" >> {rig.folder}/curls\nPATH=${{PATH#*:}} exec curl "$@"\n'
    )
    rig.bin.joinpath("curl").chmod(0o755)

    assert rig.run("deploy").returncode == 0

    lines = [*rig.calls(), *(rig.folder / "curls").read_text().splitlines()]
    assert len(lines) > 20
    assert not [
        line
        for line in lines
        if re.search(r"(access|identity)-token($| |\")", line)
        and not line.startswith("gcloud auth print-")
    ]
