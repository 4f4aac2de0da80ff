"""Parse a YAML 1.2 settings file into plain values, with the line of each. No other objects are constructed."""

from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from nmtcli.errors import UserError

Tree = dict[str, Any]
KeyPath = tuple[str, ...]

_STANDARD = "tag:yaml.org,2002:"
_SCALARS = {"str", "int", "float", "bool", "null", "timestamp"}
_MOST_VALUES, _DEEPEST = 100_000, 50  # aliases of aliases grow without bound


def parse(text: str, name: str, origins: dict[KeyPath, str]) -> Tree:
    """The mapping in a YAML document, with merge keys merged. Adds the place of each key, `name:line`, to `origins`.

    Raises UserError unless the document is a mapping of plain values.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
        if node is None or (isinstance(node, ScalarNode) and _kind(node) == "null"):
            return {}
        if not isinstance(node, MappingNode):
            raise UserError(f"{name}: a config is a mapping of sections (data, model, train, search)")
        return _Reader(yaml, name, origins).mapping(node, ())
    except UserError:
        raise
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{name}:{line}: not valid YAML: {error.problem or error.context}") from None
    except RecursionError:
        raise UserError(f"{name}: nested too deeply, or an alias (*name) that contains itself") from None
    except Exception as error:  # ruamel.yaml raises errors of many types for invalid YAML
        raise UserError(
            f"{name}: not valid YAML: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from None


class _Reader:
    """Converts YAML nodes to values."""

    def __init__(self, yaml: YAML, name: str, origins: dict[KeyPath, str]) -> None:
        self._yaml, self._name, self._origins = yaml, name, origins
        self._values = 0

    def mapping(self, node: MappingNode, path: KeyPath) -> Tree:
        """The mapping of a node. Its keys override merged ones; the first merged mapping overrides the others."""
        tree: Tree = {}
        keys: set[str] = set()
        for key, value in self._pairs(node, path):
            if key.tag == f"{_STANDARD}merge":
                for merged in self._merged(value, path):
                    tree = {**merged, **tree}
                continue
            if not isinstance(key, ScalarNode):
                raise self._error(key, "a key is not a string")
            here = (*path, str(key.value))
            if key.value in keys:
                raise self._error(key, f"duplicate key {'.'.join(here)}")
            keys.add(str(key.value))
            tree[str(key.value)] = self._value(value, here)
            self._origins[here] = self._place(key)
        return tree

    def _pairs(self, node: MappingNode, path: KeyPath) -> Iterator[tuple[Node, Node]]:
        self._check(node, path)
        merges = [(key, value) for key, value in node.value if key.tag == f"{_STANDARD}merge"]
        yield from merges  # first, so that the keys beside them override them
        yield from (pair for pair in node.value if pair not in merges)

    def _merged(self, node: Node, path: KeyPath) -> list[Tree]:
        trees = []
        for one in node.value if isinstance(node, SequenceNode) else [node]:
            if not isinstance(one, MappingNode):
                raise self._error(one, "<< merges mappings only")
            trees.append(self.mapping(one, path))
        return trees

    def _value(self, node: Node, path: KeyPath) -> Any:
        if isinstance(node, MappingNode):
            return self.mapping(node, path)
        self._check(node, path)
        if isinstance(node, SequenceNode):
            values = []
            for number, item in enumerate(node.value):
                here = (*path, str(number))
                values.append(self._value(item, here))
                self._origins[here] = self._place(item)
            return values
        if _kind(node) == "timestamp":
            return node.value
        try:
            return self._yaml.constructor.construct_object(node)
        except ValueError:
            raise self._error(node, f"{node.value!r} is not a valid {_kind(node)}") from None

    def _check(self, node: Node, path: KeyPath) -> None:
        self._values += 1
        if self._values > _MOST_VALUES or len(path) > _DEEPEST:
            raise self._error(node, "too many values: aliases (*name) in aliases, or one that contains itself")
        standard = {"map"} if isinstance(node, MappingNode) else {"seq"} if isinstance(node, SequenceNode) else _SCALARS
        if _kind(node) not in standard:
            raise self._error(node, f"a tag ({_kind(node)}) is not allowed: settings are plain values")

    def _error(self, node: Node, message: str) -> UserError:
        return UserError(f"{self._place(node)}: {message}")

    def _place(self, node: Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}"


def _kind(node: Node) -> str:
    """The tag of a node, without YAML's standard prefix."""
    return str(node.tag).removeprefix(_STANDARD)
