"""Turns rows of a table into the data frame that calibration reads, the same bytes for the same rows.

Only rows are read, never a program: no pickle is loaded here, and no code of a dataset is run.
"""

import pickle
from collections.abc import Iterator
from typing import Any, BinaryIO

from .failures import Failure

FORMATS = (".parquet", ".jsonl", ".json", ".csv")
"""What can be read, the best first."""
PROTOCOL = 4
"""Of the pickle: another one would be other bytes. Every Python 3 in an image reads this one."""
QUESTION, PROMPT, TEXT = "question", "system_prompt", "text"
BATCH = 1024
LONGEST = 3500
"""Bytes (UTF-8) of a row's texts together; what is longer is cut. The scripts' step 2 measures with a
max_model_len of 2048 tokens, and one row with more ends it, once the model is loaded. English has three to
four bytes to a token, other scripts about two; the chat template needs a few tokens too."""
SOME = 200
"""Characters of what others say: the remedy comes after it."""


class Rows:
    """The first rows of some tables, up to a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.prompts: list[str] = []
        self.questions: list[str] = []
        self._seen: dict[str, str] = {}

    @property
    def enough(self) -> bool:
        """Whether nothing more is wanted."""
        return len(self.questions) >= self.limit

    def read(self, handle: BinaryIO, name: str) -> None:
        """Take rows of a file. Raises Failure and OSError."""
        ending = next(ending for ending in FORMATS if name.endswith(ending))
        try:
            for frame in _frames(handle, ending, self.limit - len(self.questions)):
                self._take(frame, name)
                if self.enough:
                    return
        except ImportError as error:
            words = f"The image holds no pandas that reads {ending} ({error})."
            raise Failure("CalibrationToolMissing", f"{words} Give the dataset as .pkl file.") from error
        except (Failure, MemoryError):
            raise
        except OSError as error:
            if error.errno is not None:
                raise
            raise _unreadable(name, ending, error) from error
        except Exception as error:  # each format has its own, of pandas, pyarrow and others
            raise _unreadable(name, ending, error) from error

    def _take(self, frame: Any, name: str) -> None:
        columns = [str(column) for column in frame.columns]
        if QUESTION not in columns and TEXT not in columns:
            raise Failure(
                "DatasetInvalid",
                f"{name} has the columns {', '.join(columns)[:SOME]}, and neither {QUESTION} (with or "
                f"without {PROMPT}) nor {TEXT}. Take another dataset, or make one with these columns.",
            )
        questions = frame[QUESTION if QUESTION in columns else TEXT].tolist()
        both = PROMPT in columns and QUESTION in columns
        prompts = frame[PROMPT].tolist() if both else [""] * len(questions)
        for prompt, question in zip(prompts, questions):  # noqa: B905 - equally long
            if self.enough:
                return
            if not _is_missing(question):
                texts = _text("" if _is_missing(prompt) else prompt, name), _text(question, name)
                # One object for equal texts: a pickle tells twice the same from two that are equal.
                prompt, question = (self._seen.setdefault(text, text) for text in _short(*texts))  # noqa: PLW2901
                self.prompts.append(prompt)
                self.questions.append(question)

    def pickled(self) -> bytes:
        """The data frame. Raises Failure."""
        import pandas  # noqa: PLC0415 - only who converts needs it

        if not self.questions:
            raise Failure("DatasetInvalid", "The dataset has no row with a text. Take another one.")
        columns = pandas.Index([PROMPT, QUESTION], dtype=object)
        content = {PROMPT: self.prompts, QUESTION: self.questions}
        frame = pandas.DataFrame(content, dtype=object)
        frame.columns = columns
        return pickle.dumps(frame, protocol=PROTOCOL)


def _is_missing(value: Any) -> bool:
    """None, or what pandas takes for it: not a number. A blank text measures nothing either."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())  # noqa: PLR0124


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        words = f"{name} holds {type(value).__name__} where text is needed."
        raise Failure("DatasetInvalid", f"{words} Take another dataset, or make one of texts.")
    return value


def _short(prompt: str, question: str) -> tuple[str, str]:
    """Both, of LONGEST bytes at most: half of it is for each of them that needs as much."""
    prompt = _cut(prompt, LONGEST - min(_size(question), LONGEST // 2))
    return prompt, _cut(question, LONGEST - _size(prompt))


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _cut(text: str, size: int) -> str:
    if _size(text) <= size:
        return text
    # No blanks at its beginning: what is left could be nothing else.
    return text.strip().encode(errors="surrogatepass")[:size].decode(errors="ignore")


def _unreadable(name: str, ending: str, error: Exception) -> Failure:
    words = f"{name} cannot be read as {ending[1:]} ({type(error).__name__}: {str(error)[:SOME]})."
    return Failure("DatasetInvalid", f"{words} Correct the file, or take another dataset.")


def _frames(handle: BinaryIO, ending: str, rows: int) -> Iterator[Any]:
    import pandas  # noqa: PLC0415

    if ending == ".parquet":
        import pyarrow.parquet  # noqa: PLC0415

        # In pieces: a file may be far larger than the memory of a prefetch.
        table = pyarrow.parquet.ParquetFile(handle)
        columns = [name for name in table.schema_arrow.names if name in (QUESTION, PROMPT, TEXT)]
        if not columns:
            yield table.schema_arrow.empty_table().to_pandas()
        for batch in table.iter_batches(BATCH, columns=columns) if columns else ():
            yield batch.to_pandas()
    elif ending == ".csv":
        # Text as it stands: neither "NA" nor "007" means anything else.
        yield from pandas.read_csv(handle, dtype=str, keep_default_na=False, chunksize=min(rows, BATCH))
    elif ending == ".jsonl" or _is_lines(handle):
        more: dict[str, Any] = {"dtype": False, "convert_dates": False}
        with pandas.read_json(handle, lines=True, chunksize=min(rows, BATCH), **more) as frames:
            yield from frames
    else:
        yield pandas.read_json(handle, dtype=False, convert_dates=False, convert_axes=False)


def _is_lines(handle: BinaryIO) -> bool:
    """Whether a .json holds an object in each line, as many of the hub do, and not a list of them."""
    first = handle.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    handle.seek(0)
    return first == b"{"
