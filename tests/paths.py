"""Where the tests find the checkout and their fixtures."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
TERRAFORM = ROOT / "infra" / "terraform"
