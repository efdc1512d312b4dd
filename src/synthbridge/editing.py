"""Edits of a YAML file as text: one value changes, every other character stays, comments too.

Loading and dumping would lay a file out anew, and lose what stands behind a list that changes. So
ruamel only says where a value stands.
"""

import io
from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, SequenceNode

COMMENT_GAP = 2  # blanks before a comment behind a value, at least


def with_value(text: str, key: str, value: Any) -> str:
    """Return `text` with a scalar at a dotted key, which is added if its group has none.

    Raises:
        ValueError: if there is no such group, or the file is laid out so that it takes a person.
    """
    parents, _, name = key.rpartition(".")
    group = _find(text, parents)[1] if parents else _root(text)
    if not isinstance(group, MappingNode) or not group.value:
        raise _by_hand(key, value)
    pairs = {each[0].value: each for each in group.value}
    if name in pairs:
        node, old = pairs[name]
        changed = _with_scalar(text, node, old, _dump(value))
    elif group.flow_style:
        end = group.end_mark.index - 1
        changed = f"{text[:end].rstrip()}, {name}: {_dump(value)}{text[end:]}"
    else:
        end = _end_of_line(text, _last(group))
        indent = " " * group.value[0][0].start_mark.column
        changed = f"{_whole_line(text[:end])}{indent}{name}: {_dump(value)}\n{text[end:]}"
    return _checked(text, changed, key, value)


def with_items(text: str, key: str, items: Sequence[Any]) -> str:
    """Return `text` with these items in the list at a dotted key; items that stay keep comments.

    Raises:
        ValueError: if it is no list, or the file is laid out so that it takes a person.
    """
    name, listed = _find(text, key)
    if not isinstance(listed, SequenceNode):
        raise _by_hand(key, list(items))
    dumped = [_dump(item) for item in items]
    if [item.value for item in listed.value] == dumped:
        return text
    if listed.flow_style:
        start, end = listed.start_mark.index, listed.end_mark.index
        changed = f"{text[:start]}[{', '.join(dumped)}]{text[end:]}"
    else:
        changed = _with_lines(text, name, listed, dumped)
    return _checked(text, changed, key, list(items))


def with_copy(text: str, group: str, name: str) -> str:
    """Return `text` with a copy of the group at a dotted key, called `name`, below it.

    Raises:
        ValueError: if the file is laid out so that it takes a person.
    """
    key, values = _find(text, group)
    start, end = _line_start(text, key), _end_of_line(text, _last(values))
    copied = text[start:end]
    column = key.start_mark.column
    copied = copied[:column] + name + copied[key.end_mark.index - start :]
    parents = group.rpartition(".")[0]
    changed = _whole_line(text[:end]) + copied + text[end:]
    return _checked(text, changed, f"{parents}.{name}", _value(text, group))


def without(text: str, group: str) -> str:
    """Return `text` without the group at a dotted key and the comments inside it.

    Raises:
        ValueError: if the file is laid out so that it takes a person.
    """
    key, values = _find(text, group)
    changed = text[: _line_start(text, key)] + text[_end_of_line(text, _last(values)) :]
    wanted = load(text)
    parents, _, name = group.rpartition(".")
    del _group(wanted, parents)[name]
    if not _says(changed, wanted):
        raise ValueError(f"{group} is not laid out as a block; take it out by hand")
    return changed


def with_only(text: str, group: str, names: Sequence[str]) -> str:
    """Return `text` with no other entries of the group at a dotted key than those of `names`.

    Raises:
        ValueError: if the file is laid out so that it takes a person.
    """
    _, values = _find(text, group)
    wanted = load(text)
    changed, end = "", 0
    for key, value in values.value:
        if key.value not in names:
            changed += text[end : _line_start(text, key)]
            end = _end_of_line(text, _last(value))
            del _group(wanted, group)[key.value]
    changed += text[end:]
    if not _says(changed, wanted):
        raise ValueError(f"{group} is not laid out as a block; keep {', '.join(names)} by hand")
    return changed


def _with_scalar(text: str, key: Node, old: Node, new: str) -> str:
    """Put a scalar in the place of a value; a comment behind it stays in its column if it can."""
    if not isinstance(old, CollectionNode) or old.flow_style:
        start, end = old.start_mark.index, old.end_mark.index
        if start == end:  # `key:` alone
            start = end = text.index(":", key.end_mark.index) + 1
            new = f" {new}"
        return text[:start] + _fit_gap(new, text[start:end], text[end:])
    colon = text.index(":", key.end_mark.index) + 1
    line_end = text.index("\n", colon) + 1
    head = text[:colon] + _fit_gap(f" {new}", "", text[colon:line_end])
    return head + text[_end_of_line(text, _last(old)) :]


def _fit_gap(new: str, old: str, after: str) -> str:
    """Return `new` and what stood behind `old`, with as many blanks before a comment as fit."""
    blanks = len(after) - len(after.lstrip(" "))
    if not after[blanks:].startswith("#"):
        return new + after
    gap = max(COMMENT_GAP, blanks + len(old) - len(new))
    return new + " " * gap + after[blanks:]


def _with_lines(text: str, key: Node, listed: Node, items: Sequence[str]) -> str:
    """Replace the lines of a block list, each with the comments above and behind it."""
    colon = text.index(":", key.end_mark.index) + 1
    rows = text.splitlines(keepends=True)
    first, last = key.end_mark.line + 1, listed.value[-1].end_mark.line
    after = "".join(rows[last + 1 :])
    if not items:
        return text[:colon] + " []" + text[colon : sum(map(len, rows[:first]))] + after
    lines: dict[str, str] = {}
    for item in listed.value:
        lines[item.value] = "".join(rows[first : item.end_mark.line + 1])
        first = item.end_mark.line + 1
    dash = " " * (listed.value[0].start_mark.column - 2) + "- "
    new = "".join(_whole_line(lines.get(item, f"{dash}{item}\n")) for item in items)
    return "".join(rows[: key.end_mark.line + 1]) + new + after


# --- where things stand --------------------------------------------------------------------------


def _root(text: str) -> Node:
    return YAML().compose(text)


def _find(text: str, key: str) -> tuple[Node, Node]:
    """Return the nodes of a dotted key and of its value.

    Raises:
        ValueError: if there is none.
    """
    found: tuple[Any, Node] = (None, _root(text))
    for name in key.split("."):
        pairs = found[1].value if isinstance(found[1], MappingNode) else []
        for pair in pairs:
            if pair[0].value == name:
                found = pair
                break
        else:
            raise ValueError(f"there is no {key} to change; add it by hand")
    return found


def _last(node: Node) -> Node:
    """Return the last scalar or bracket of a value: a block's own end lies behind its comments."""
    while isinstance(node, CollectionNode) and not node.flow_style and node.value:
        node = node.value[-1][1] if isinstance(node, MappingNode) else node.value[-1]
    return node


def _line_start(text: str, node: Node) -> int:
    return text.rfind("\n", 0, node.start_mark.index) + 1


def _end_of_line(text: str, node: Node) -> int:
    """Return where the line after a value begins."""
    return (text.find("\n", node.end_mark.index) + 1) or len(text)


def _whole_line(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"


# --- values --------------------------------------------------------------------------------------


def _dump(value: Any) -> str:
    """Write a scalar as YAML does."""
    out = io.StringIO()
    YAML().dump(value, out)
    return out.getvalue().removesuffix("...\n").strip()


def load(text: str) -> Any:
    """Return the values that a YAML text holds."""
    return YAML(typ="safe").load(text)


def _group(values: Any, key: str) -> Any:
    for name in key.split(".") if key else ():
        values = values[name]
    return values


def _value(text: str, key: str) -> Any:
    return _group(load(text), key)


def _checked(old: str, new: str, key: str, value: Any) -> str:
    """Return `new` if it differs from `old` in this one value; anchors, say, are not foreseen."""
    wanted = load(old)
    parents, _, name = key.rpartition(".")
    _group(wanted, parents)[name] = value
    if not _says(new, wanted):
        raise _by_hand(key, value)
    return new


def _says(text: str, values: Any) -> bool:
    """Say whether `text` holds just these values."""
    try:
        return load(text) == values
    except YAMLError:
        return False


def _by_hand(key: str, value: Any) -> ValueError:
    return ValueError(f"{key} stands where it cannot be changed in place; write {value} by hand")
