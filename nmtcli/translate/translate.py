"""`translate_file`: translate text, a document, or a folder of them."""

from contextlib import ExitStack

from nmtcli.options import Tell, check_rules, silent
from nmtcli.paths import PIPE
from nmtcli.translate.cluster import cluster_workers
from nmtcli.translate.file import OnWritten, TranslatedFile, translate_one
from nmtcli.translate.folder import TranslatedFolder, check_folder, translate_folder
from nmtcli.translate.job import window_translator
from nmtcli.translate.job_options import check_model, check_paths, gpus_of, job_of
from nmtcli.translate.options import RULES, TranslateOptions


def translate_file(
    options: TranslateOptions, tell: Tell = silent, on_written: OnWritten = lambda _: None
) -> TranslatedFile | TranslatedFolder:
    """Translate a file, one output line for each input line, in order; a document; or a folder of such files.

    `on_written` is called before the first window and after each. Raises UserError and DataError before anything is
    written, and Interrupted after a signal; `resume` then continues the output.
    """
    check_rules(options, RULES)
    files = check_folder(options) if options.source != PIPE and options.source.is_dir() else None
    check_paths(options)
    job, gpus = job_of(options), gpus_of(options.devices)
    check_model(job, options, gpus)
    with ExitStack() as stack:
        elsewhere = stack.enter_context(cluster_workers(options.scheduler, job, tell)) if options.scheduler else None
        translate = stack.enter_context(window_translator(job, options.processes, gpus, elsewhere))
        if files is not None:
            return translate_folder(options, files, job, translate, tell, on_written)
        return translate_one(options, job, translate, tell, on_written)
