"""The command `browse`: a local page over shards and runs."""

from __future__ import annotations

from pathlib import Path

import click

from tdn_data.stages.cli import console
from tdn_data.stages.cli.types import InputFolder, ShardFolder, Text, Whole

USUAL_RUNS = ("runs", "fusions")


@click.command()
@click.argument("path", type=ShardFolder())
@click.option(
    "--runs",
    multiple=True,
    type=InputFolder(),
    help="Folder of evaluated runs; may be given several times  [default: runs and fusions, where they are]",
)
@click.option("--port", type=Whole(0, 65535), help="Port of the page  [default: 8420, or a free one]")
@click.option("--host", type=Text(), default="127.0.0.1", show_default=True, help="Others let other machines in.")
@click.option("--open/--no-open", "opens", default=True, help="Open it in the browser, or not.")
def browse(path: str, runs: tuple[Path, ...], port: int | None, host: str, opens: bool) -> None:
    """Look at shards in the browser: every video with its flow, and what runs made of it. Ctrl-C ends it.

    PATH is a folder of shards, local or s3://..., finished or not; or one with two such folders, rgb and flow.

    \b
    Example: tdn-data browse shards --runs runs
    """
    from tdn_data.pipeline.view.browse.serve import open_browser, open_site

    roots = list(runs) or [Path(name) for name in USUAL_RUNS if Path(name).is_dir()]
    with console.messages():
        site = open_site(path, runs=roots, host=host, port=port)
        count = console.counted(len(site.site.source.videos), "video")
        console.out.print(f"{console.shown(site.site.source.shown)}: {count}", soft_wrap=True, highlight=False)
        console.out.print(f"{site.url}  (Ctrl-C ends it)", soft_wrap=True, highlight=False)
        if opens and not open_browser(site.url):
            console.err.print("no browser was found here; open the address above in one.", highlight=False)
    try:
        site.serve()
    except KeyboardInterrupt:
        console.out.print("stopped")


COMMANDS = (browse,)
