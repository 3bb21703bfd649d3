"""Fail unless what the README claims holds for the run that `make repro` just made."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from payloads import differences

PROJECT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
FCVID_MINI = PROJECT.parent / "shared/data/fcvid_mini"
ENVIRONMENT = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def run(*command: str) -> str:
    """Run a command in the project's folder and return what it prints; its failure ends the check."""
    return subprocess.run(command, cwd=PROJECT, env=ENVIRONMENT, check=True, text=True, stdout=subprocess.PIPE).stdout


def claim(holds: bool, words: str) -> None:
    """Print one claim and leave with 1 when it does not hold."""
    print(("holds: " if holds else "FAILS: ") + words, flush=True)
    if not holds:
        sys.exit(1)


def top1(name: str) -> float:
    return json.loads((PROJECT / "runs" / name / "metrics.json").read_text())["top1"]


def main() -> None:
    tdn, tsn = top1("tdn-rgb"), top1("tsn-rgb")
    claim(tdn >= 0.90, f"RGB TDN reaches at least 90 % top-1 ({tdn:.1%})")
    claim(tsn <= 0.60, f"RGB TSN stays at or under 60 % top-1 ({tsn:.1%})")
    report = (PROJECT / "report/report.html").read_text()
    loaded = re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", report)
    claim("<svg" in report and not loaded, f"the report is self-contained ({loaded[:3]})")
    claim("Data and pipelines are up to date" in run("dvc", "repro"), "a second dvc repro does nothing")
    claim("top1" in run("dvc", "metrics", "show"), "dvc metrics show lists top-1")
    wrong = differences(PROJECT / "data/shards/demo")
    claim(not wrong, f"the built-in set's payloads are the bytes that other processors give ({wrong})")
    if FCVID_MINI.is_dir():
        with tempfile.TemporaryDirectory() as folder:
            out = f"{folder}/shards"
            arguments = ("--dataset", "fcvid", "--root", str(FCVID_MINI), "--out", out, "--json")
            summary = json.loads(run("tdn-data", "extract", *arguments))
            claim(sum(summary["status"].values()) == 14, f"all 14 listed videos have a status ({summary['status']})")
            reasons = {row["video_id"]: row["reason"] for row in summary["not_ok"]}
            claim(reasons.get("broken/mIssing_file") == "missing", "the missing video is failed: missing")
            claim("broken/tRunc4ted_00" in reasons, f"the truncated video has its reason ({reasons})")
            claim('"findings": []' in run("tdn-data", "verify", out, "--json"), "verify finds nothing wrong")


if __name__ == "__main__":
    main()
