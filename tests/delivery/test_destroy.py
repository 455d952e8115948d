"""Taking an environment down: shown first, confirmed by a word, never production by mistake."""

from __future__ import annotations

import re

from tests.delivery.rig import PROJECT, Rig, run


def applied(rig: Rig) -> list[str]:
    return [call for call in rig.calls() if re.search(r"terraform \S+ apply", call)]


def test_it_deletes_the_shown_resources_after_the_project_was_typed(deployed: Rig) -> None:
    deployed.forget_calls()

    done = deployed.run("destroy", typed=f"{PROJECT}\n")

    assert done.returncode == 0, done.stderr
    assert "terraform_data.registry will be destroyed" in done.stdout
    assert deployed.state() == {}
    assert len(applied(deployed)) == 1


def test_any_other_word_deletes_nothing_and_no_switch_answers_for_it(deployed: Rig) -> None:
    deployed.forget_calls()

    for word in ("yes", "", "audio-test-2"):
        done = deployed.run("destroy", typed=f"{word}\n", YES="1", CI="true")
        assert done.returncode == 1
        assert "nothing was deleted" in done.stderr

    assert applied(deployed) == []
    assert "registry" in deployed.state()


def test_it_can_be_deployed_again(deployed: Rig) -> None:
    deployed.run("destroy", typed=f"{PROJECT}\n")

    done = deployed.run("deploy")

    assert done.returncode == 0, done.stderr
    assert {"registry", "extract_audio"} <= deployed.state().keys()


def test_production_refuses_and_the_way_that_it_names_works(rig: Rig) -> None:
    rig.more["ENV"] = "prod"
    assert rig.run("deploy").returncode == 0
    rig.forget_calls()

    refused = rig.run("destroy", typed=f"{PROJECT}\n")

    assert refused.returncode == 1
    assert "is protected; nothing was deleted" in refused.stderr
    assert applied(rig) == []

    lift = next(line for line in refused.stderr.splitlines() if "state rm" in line)
    # As a person types it: after `gcloud auth login` alone, in the checkout.
    done = run(["sh", "-c", f"cd '{rig.checkout}' && {lift}"], rig.environment)
    assert done.returncode == 0, done.stderr
    done = rig.run("destroy", typed=f"{PROJECT}\n", PROTECTED="false")
    assert done.returncode == 0, done.stderr


def test_production_is_not_unprotected_by_the_switch_alone(rig: Rig) -> None:
    rig.more["ENV"] = "prod"
    rig.run("deploy")

    done = rig.run("destroy", typed=f"{PROJECT}\n", PROTECTED="false")

    assert done.returncode == 1
    assert "is protected; nothing was deleted" in done.stderr
