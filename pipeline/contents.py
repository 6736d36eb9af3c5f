"""What a file holds in place of the data its name promises."""

from __future__ import annotations

#: how a git-lfs pointer begins: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
_POINTER = b"version https://git-lfs.github.com/spec/"
#: how far into a file its kind is looked for
_HEAD = 1024


def instead_of_data(data: bytes) -> str:
    """What these bytes are where they cannot be the data that a file should hold, as a phrase; "" where they may be.

    Knows what downloads and clones leave behind: nothing at all, a git-lfs pointer, a page of HTML, a server's answer
    in XML that denies an object.
    """
    head = data[:_HEAD].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head:
        return "an empty file"
    if head.startswith(_POINTER):
        return "a git-lfs pointer, not the file it stands for (`git lfs pull` fetches it)"
    if head[:100].lower().startswith((b"<!doctype html", b"<html")):
        return "a page of HTML, not the file it should be (a download that was answered with a web page?)"
    if head.startswith(b"<?xml") and b"<Error>" in head:
        return "a server's error message in XML, not the file it should be"
    return ""
