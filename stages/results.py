"""The results of the pipeline's own runs, printed; `make repro` ends with them."""

from __future__ import annotations

from tdn_data.stages.cli import console
from tdn_data.stages.cli.results_table import print_results


def main() -> None:
    """Print the results."""
    with console.messages():
        print_results()


if __name__ == "__main__":
    console.run_stage(main)
