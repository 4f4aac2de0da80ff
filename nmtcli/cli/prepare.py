"""`nmt prepare`: make a data directory from aligned text."""

import typer

from nmtcli.cli.console import say, stdout, tell
from nmtcli.cli.options import command
from nmtcli.cli.progress import Progress
from nmtcli.errors import DataError
from nmtcli.options import check_rules
from nmtcli.paths import quoted
from nmtcli.prepare.options import RULES, PrepareOptions


@command(lambda: PrepareOptions)
def prepare(context: typer.Context, options: PrepareOptions) -> None:
    """Make a data directory from aligned text: clean, train the tokenizer, encode.

    Line n of a source file is the translation of line n of its target file. Files
    are UTF-8, plain or gzip, bzip2, xz, zstd; only LF ends a line. File options are
    repeatable. A YAML file lists corpora with names, tags or columns, and Hugging
    Face data sets, under data.train. Without validation text, use --hold-out to sample
    some from the corpus. The rules of data.cleaning drop pairs; report.html has their
    counts and examples; --dry-run only prints the report. The same text and settings
    give the same data: a second run stops at once.
    """
    del context
    check_rules(options, RULES)
    from nmtcli.prepare import prepare as library
    from nmtcli.prepare.report.tables import render

    output = options.output
    with Progress() as progress:
        done = library.prepare(options, tell, progress.move)
    report = done.report
    if done.merged is not None and output is not None:
        say(f"{output}: {done.merged.train.pairs:,} training pairs of {len(options.merge)} parts; {_next(options)}")
    if report is None:
        return
    stdout.print(render(report), soft_wrap=True)  # no line breaks inside paths
    if not done.already_prepared:
        progress.summary(report.train.pairs_read + report.valid.pairs_read, "pairs", "read")
    if options.dry_run or output is None:
        say("dry run: no data directory was made")
        if not report.train.pairs_kept or not report.valid.pairs_kept:
            raise DataError(
                f"cleaning drops every {'validation' if report.train.pairs_kept else 'training'} pair",
                "see the counts of the rules above",
            )
    elif done.already_prepared:
        say(f"{output}: already prepared from the same text and settings")
    else:
        if done.test_texts:
            say(f"test text: {' and '.join(map(quoted, done.test_texts))}")
        say(f"{output}: ready; {_next(options)}")


def _next(options: PrepareOptions) -> str:
    """The next command, with the settings files, which may have settings of training."""
    assert options.output is not None
    files = "".join(f" -c {quoted(file)}" for file in options.config)
    return f"next: nmt train {quoted(options.output)} -o RUN{files}"
