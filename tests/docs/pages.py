"""The pages of the documentation, and what the tests read off them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", "examples/README.md", "ganprune/assets/colour_ink/README.md"]
PAGES += sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text, language):
    """The code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def quoted(text):
    """What stands in single code quotes, on one line each."""
    return [
        " ".join(span.split())
        for span in re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))
    ]


def words_of(block):
    """Yield the words of each command of a shell block; a command may go on over several lines."""
    command = ""
    for line in block.replace("\\\n", " ").splitlines():
        command = f"{command}\n{line}" if command else line
        try:
            words = shlex.split(command, comments=True)
        except ValueError:  # a quotation that goes on in the next line
            continue
        command = ""
        while words:
            end = next((index for index, word in enumerate(words) if word in ("&&", ">", "&")), len(words))
            if words[:end]:
                yield words[:end]
            words = words[end + 1 :]
    assert not command, f"a quotation without an end: {command}"


def command_lines(text):
    """The words of every command that a page shows, in its shell blocks and in code quotes."""
    spans = [span for span in quoted(text) if re.match(r"(ganprune|python) \S", span)]
    return [words for block in [*blocks(text, "sh"), *spans] for words in words_of(block)]


def anchors(text):
    """What links to a page's headings are called."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
