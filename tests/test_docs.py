"""The documentation: its links lead somewhere, and every block of code in it runs or is checked.

A block of shell is parsed: its commands and options exist. What needs no file of the user runs. The
tutorial runs as a whole.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from phyda_cli.app import app
from phyda_cli.commands.config import MODELS
from phyda_cli.observations.read.columns import ObservationMap
from phyda_cli.settings.analysis import AnalysisSettings
from phyda_cli.settings.base import fields_of
from phyda_cli.verification.limits import read_limits

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
GENERATED = DOCS / "reference" / "generated"
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"))
    if GENERATED not in path.parents
)
FENCE = re.compile(r"^```(\{?[\w-]+\}?)[^\n]*\n(.*?)^```", re.M | re.S)
DIRECTIVES = ("{toctree}", "{include}")
SHOWN = ("text",)  # what a file looks like

# Python that cannot run as it stands, with the reason.
NOT_RUN = {
    "docs/reference/operators.md": "observes with names that only the reader's case defines",
    "docs/reference/observations.md": "tests/observations/test_obs_formats.py runs it",
    "docs/tutorial.md": "runs after the commands before it, below",
}
# Programs in shell blocks that are not phyda, and why they do not run here.
OTHERS = {
    ".": "activates an environment",
    "docker": "there may be no engine",
    "pip": "installs",
    "pre-commit": "changes the repository",
    "uv": "installs",
}
# Commands that need no file of the user, and so run.
WITHOUT_FILES = ("config show", "obs maps", "obs template", "model inspect", "model card")


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    language: str
    text: str


def blocks(*languages: str) -> list[Block]:
    found = [Block(p, *m) for p in PAGES for m in FENCE.findall((ROOT / p).read_text("utf-8"))]
    return [block for block in found if block.language in languages] if languages else found


def lines(block: Block) -> Iterator[list[str]]:
    """The words of each command of a shell block."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def phyda_words(words: list[str]) -> list[str] | None:
    """What follows phyda in a command, up to a redirection."""
    if "phyda_cli" in words:
        words = ["phyda", *words[words.index("phyda_cli") + 1 :]]
    if "phyda" not in words or words[0] in OTHERS:
        return None
    rest = words[words.index("phyda") + 1 :]
    end = next((i for i, word in enumerate(rest) if re.match(r"^(\d?>|\||&&|;)", word)), len(rest))
    return rest[:end]


def leaf(words: list[str]) -> tuple[str, Any, list[str]]:
    """The command that ``words`` call, its name, and what follows the name."""
    command: Any = typer.main.get_command(app)
    path: list[str] = []
    while (known := getattr(command, "commands", None)) is not None:
        if not words or words[0] not in known:
            return " ".join(path), command, words
        command, path, words = known[words[0]], [*path, words[0]], words[1:]
    return " ".join(path), command, words


COMMANDS = [
    pytest.param(block.page, words, id=f"{block.page}-{' '.join(words)[:50]}")
    for block in blocks("bash")
    for line in lines(block)
    if (words := phyda_words(line)) is not None
]


def _slug(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    missing = []
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        target = ((ROOT / page).parent / path) if path else ROOT / page
        if not target.exists():
            missing.append(path)
        elif anchor:
            titles = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), re.M)
            missing += [] if anchor in map(_slug, titles) else [f"{path}#{anchor}"]
    sys.path.insert(0, str(DOCS / "_ext"))
    import reference

    for name in re.findall(r"\{doc\}`([^`]+)`", text):
        target = (ROOT / page).parent / f"{name}.md"
        made = GENERATED in target.resolve().parents and hasattr(reference, target.stem)
        missing += [] if made or target.exists() else [name]
    assert not missing


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {
        (DOCS / page).parent / f"{line}.md"
        for page in ("index.md", "reference/index.md")
        for block in FENCE.findall((DOCS / page).read_text(encoding="utf-8"))
        for line in block[1].splitlines()
    }
    pages = {ROOT / page for page in PAGES if page.startswith("docs/")}
    assert pages - listed == {DOCS / "index.md"}


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    known = {"bash", "python", "toml", *SHOWN, *DIRECTIVES}
    assert {b.language for b in blocks()} <= known
    text = "".join(FENCE.sub("", (ROOT / p).read_text(encoding="utf-8")) for p in PAGES)
    assert not re.search(r"^    (phyda|torchrun|python|import) ", text, re.M)  # indented blocks


@pytest.mark.parametrize(("page", "words"), COMMANDS)
def test_commands_and_options_exist(page: str, words: list[str]) -> None:
    if words[0].startswith("-"):
        known = {name for p in typer.main.get_command(app).params for name in p.opts}
        assert words[0] in known
        return
    name, command, rest = leaf(words)
    assert name
    if not hasattr(command, "commands"):
        command.make_context(name, list(rest))
    models = MODELS.get(name.split()[0], ())
    for word, value in pairwise(rest):
        if word == "--set":
            assert value.partition("=")[0] in {p for m in models for p, _ in fields_of(m)}


def test_other_programs_exist_or_have_a_reason() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for block in blocks("bash"):
        for words in lines(block):
            program = words[0]
            if phyda_words(words) is not None or program in OTHERS:
                continue
            if program == "make":
                assert words[1] in targets
            elif program == "python":
                assert (ROOT / f"{words[2].replace('.', '/')}.py").exists()
            else:
                assert (ROOT / program).exists(), program


WITHOUT = [
    pytest.param(words, id=" ".join(words))
    for words in dict.fromkeys(tuple(p.values[1]) for p in COMMANDS)
    if " ".join(words).startswith(WITHOUT_FILES)
    and "--config" not in words  # a file
    and not any(word.startswith("runs/") for word in words)  # a checkpoint
]


@pytest.mark.parametrize("words", WITHOUT)
def test_what_needs_no_file_runs(words: tuple[str, ...], phyda: Callable[..., Any]) -> None:
    outcome = phyda(*words)
    assert outcome.code == 0, outcome.err
    assert outcome.out


def test_the_line_for_cron_parses() -> None:
    [line] = re.findall(r"phyda (assimilate .*?) 2>>", (DOCS / "howto/cron.md").read_text("utf-8"))
    name, command, rest = leaf(shlex.split(re.sub(r"\$\(.*?\)", "TIME", line)))
    command.make_context(name, rest)


def test_toml_is_what_it_is_for(tmp_path: Path) -> None:
    models = {"spreadsheet": ObservationMap, "operators": AnalysisSettings}
    for block in blocks("toml"):
        content = tomllib.loads(block.text)
        if (model := models.get(Path(block.page).stem)) is not None:
            model.model_validate(content)
        else:
            assert block.page == "docs/reference/verification.md"
            (tmp_path / "limits.toml").write_text(block.text, encoding="utf-8")
            assert len(read_limits(tmp_path / "limits.toml")) == len(content)


@pytest.mark.parametrize(
    "page", sorted({b.page for b in blocks("python") if b.page not in NOT_RUN})
)
def test_python_runs(
    page: str, case: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phyda_cli.python.BUNDLED", tiny_checkpoint)  # quick
    for name in ("stations.csv", "fc.nc"):
        shutil.copy(case / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks("python"):
        if block.page == page:
            exec(compile(block.text, page, "exec"), names)
    assert float(abs(names["a"].increment["t"]).max()) > 0


def test_the_tutorial_runs(
    phyda: Callable[..., Any],
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("phyda_cli.python.BUNDLED", tiny_checkpoint)  # quick
    monkeypatch.setenv("PHYDA_CHECKPOINT", str(tiny_checkpoint))
    monkeypatch.setenv("PHYDA_METHOD", "oi")
    for block in [b for b in blocks("bash", "python") if b.page == "docs/tutorial.md"]:
        if block.language == "python":
            capsys.readouterr()
            exec(compile(block.text, block.page, "exec"), {})
            assert capsys.readouterr().out
            continue
        for words in lines(block):
            outcome = phyda(*(phyda_words(words) or []))
            assert outcome.code == 0, outcome.err
    assert (tmp_path / "demo" / "report.html").is_file()
    assert (tmp_path / "t850.png").is_file()
    assert not (tmp_path / "an1h.nc").exists()  # a dry run
