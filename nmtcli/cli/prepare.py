"""`nmt prepare`: aligned text to a data directory."""

import typer

from nmtcli.cli.console import say, stdout, tell
from nmtcli.cli.options import command
from nmtcli.cli.progress import Progress
from nmtcli.errors import DataError
from nmtcli.options import check_rules
from nmtcli.paths import quoted
from nmtcli.prepare.options import RULES, PrepareOptions


@command(PrepareOptions)
def prepare(context: typer.Context, options: PrepareOptions) -> None:
    """Make a data directory from aligned text: clean, train the tokenizer, encode.

    Line n of a source file translates line n of its target file. Files are UTF-8,
    plain or gzip, bzip2, xz, zstd; only LF ends a line. Options for files can be
    repeated. Corpora with names, tags or columns, and data sets of the hub, are
    listed in a YAML file under data.train. Without validation text of your own,
    --hold-out draws some from the corpus. Pairs that break a rule of data.cleaning
    are dropped, counted and shown in report.html; --dry-run gives the report alone.
    The same text and settings give the same data: a second run stops at once.
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
        then = f"next: nmt train {quoted(output)} -o RUN"
        say(f"{output}: {done.merged.train.pairs:,} training pairs of {len(options.merge)} parts; {then}")
    if report is None:
        return
    stdout.print(render(report), soft_wrap=True)  # a path is never broken
    if not done.already_prepared:
        progress.summary(report.train.pairs_read + report.valid.pairs_read, "pairs", "read")
    if options.dry_run or output is None:
        say("dry run: no data directory was made")
        if not report.train.pairs_kept or not report.valid.pairs_kept:
            raise DataError(f"no {'validation' if report.train.pairs_kept else 'training'} pair would be left")
    elif done.already_prepared:
        say(f"{output}: already prepared from the same text and settings")
    else:
        if done.test_texts:
            say(f"test text: {' and '.join(map(quoted, done.test_texts))}")
        say(f"{output}: ready; next: nmt train {quoted(output)} -o RUN")
