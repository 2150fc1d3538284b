"""`competition.yml` as `foldpack init` writes it: the settings, and above each key what they follow from."""

from __future__ import annotations

from foldpack.recognise.findings import Finding, Findings
from foldpack.settings.competition import CompetitionConfig
from foldpack.settings.strict_yaml import dump_block

HEAD = """\
# What the files of this competition mean. Written by `foldpack init`, to be read and mended: every key is explained in
# docs/competitions.md. See what foldpack makes of it: foldpack look
"""
TITLES = {
    "train": "The training items: where they are told, and where their images lie.",
    "test": "The items to be answered.",
    "images": "How the image files are read.",
    "labels": "What is known of a training item.",
    "answer": "How the submission looks.",
    "metric": "What the competition is scored by.",
}


def competition_page(config: CompetitionConfig, findings: Findings) -> str:
    """The YAML with a line for each conclusion; one that is no more than likely begins with "guess" or "could not
    tell"."""
    data = config.model_dump(mode="json", exclude_defaults=True)
    parts = [HEAD, dump_block({"name": data["name"]}) + slug_lines(data["slug"], findings)]
    for key, title in TITLES.items():
        lines = [f"# {title}", *(finding_line(each) for each in findings.of(key))]
        parts.append("\n".join(lines) + "\n" + (dump_block({key: data[key]}) if data.get(key) else ""))
    return "\n".join(parts)


def slug_lines(slug: str, findings: Findings) -> str:
    """The slug, with what is not sure of it."""
    return "".join(f"{finding_line(each)}\n" for each in findings.of("slug")) + dump_block({"slug": slug})


def finding_line(finding: Finding) -> str:
    """One conclusion as a comment."""
    said, why = " ".join(finding.said.split()), " ".join(finding.why.split())
    if finding.sure == "recognised":
        return f"# {said} ({why})"
    word = "guess" if finding.sure == "guessed" else "could not tell, taken"
    return f"# {word}: {said} because {why}; check it" if finding.sure == "guessed" else f"# {word}: {said}; {why}"
