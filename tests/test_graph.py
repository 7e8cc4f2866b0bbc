"""The Graph IR: text that reads back, a verifier that catches each broken rule, an interpreter, and the helpers."""

from __future__ import annotations

import operator
from dataclasses import replace
from random import Random

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from flambeau.ir import graph_verify
from flambeau.ir.expr import DTYPES
from flambeau.ir.graph import (
    Block,
    Dtype,
    Graph,
    Operation,
    Record,
    Value,
    inlined,
    substitute,
    uses,
    walk,
    without_dead,
)
from flambeau.ir.graph_interpret import interpret
from flambeau.ir.graph_text import format_graph, parse_graph
from flambeau.ir.graph_verify import verify

EXAMPLE = """\
graph example(%x: f32[B, 4], %flag: bool[])
  constant %w: f32[4, 4]
  %0: f32[B, 4] = matmul(%x, %w)
  %1: f32[B, 4] = if(%flag)
    region()
      %2: f32[B, 4] = negative(%0)
      return %2
    region()
      return %0
  %n: i64[] = full((), 3, dtype=i64)
  %3: f32[B, 4], %4: i64[] = while(%1, %n)
    region(%a: f32[B, 4], %i: i64[])
      %5: bool[] = greater(%i, 0)
      return %5
    region(%b: f32[B, 4], %j: i64[])
      %6: f32[B, 4] = add(%b, %x)
      %7: i64[] = subtract(%j, 1)
      return %6, %7
  %8: f32[4, 4] = multiply(%w, 2.0)
  return %3
  update %w = %8
"""
TABLE = {
    "matmul": np.matmul, "negative": np.negative, "add": np.add, "subtract": np.subtract, "multiply": np.multiply,
    "greater": np.greater, "full": lambda shape, value, dtype: np.full(shape, value),
}  # fmt: skip


# ---- text
def test_example_reads_back():
    graph = parse_graph(EXAMPLE)
    assert str(graph) == EXAMPLE
    assert parse_graph(str(graph)) == graph
    verify(graph, TABLE)
    assert [v.name for v in graph.inputs] == ["x", "flag"]
    assert graph.operations[2].attributes == (("dtype", Dtype("i64")),)


def test_arguments_of_every_kind_read_back():
    x = Value("x", "f32", ())
    arguments = (
        None, True, False, 0, -7, 1.5, -0.0, 1e300, 5e-324, float("inf"), -float("inf"), complex(1, -2), "f32",
        "a 'b' \"c\"\n", Dtype("f32"), (), (x,), ((x, None), (1, (2,))),
        Record("indirect.Places", ((1, 2), x)), Record("Empty", ()),
    )  # fmt: skip
    operation = Operation("f", arguments, (Value("y", "f32", (0, "B"), "cuda:1"),), (("how", arguments),))
    graph = Graph("g", Block((x,), (operation,), ()))
    again = parse_graph(str(graph)).operations[0]
    assert again == operation
    assert [type(a) for a in again.arguments] == [type(a) for a in arguments]
    assert str(again.arguments[6]) == "-0.0"


def test_nan_reads_back():
    graph = Graph("g", Block((), (Operation("f", (float("nan"), complex(float("nan"), 0)), ()),), ()))
    a, b = parse_graph(str(graph)).operations[0].arguments
    assert a != a and b.real != b.real and b.imag == 0


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.complex_numbers(allow_nan=False), st.text(),
    st.sampled_from([Dtype(d) for d in DTYPES]),
)  # fmt: skip


class Maker:
    """Graphs at random, with the given scalars among their arguments; only their text need make sense."""

    def __init__(self, random, scalars):
        self.random, self.scalars, self.count = random, scalars, 0

    def some(self, choices, most):
        return tuple(self.random.choices(choices, k=self.random.randrange(most + 1))) if choices else ()

    def value(self):
        self.count += 1
        name = self.random.choice(["", "x", "a.b", "_"]) + str(self.count)
        shape = self.some([0, 1, 7, 2**40, "B", "T.1"], 3)
        device = self.random.choice(["cpu", "cpu", "cuda", "cuda:0"])
        return Value(name, self.random.choice(sorted(DTYPES)), shape, device)

    def values(self, most):
        return tuple(self.value() for _ in range(self.random.randrange(most + 1)))

    def argument(self, visible, depth=0):
        kind = self.random.randrange(8 if depth < 3 else 6)
        if kind < 3 and visible:
            return self.random.choice(visible)
        if kind < 6:
            return self.random.choice(self.scalars)
        inner = tuple(self.argument(visible, depth + 1) for _ in range(self.random.randrange(4)))
        return inner if kind == 6 else Record(self.random.choice(["a.B", "C"]), inner)

    def block(self, visible, parameters=(), depth=0):
        visible = [*visible, *parameters]
        operations = []
        for _ in range(self.random.randrange(4)):
            arguments = tuple(self.argument(visible) for _ in range(self.random.randrange(4)))
            named = dict.fromkeys(self.some(["dim", "inf", "region"], 3))
            attributes = tuple((name, self.argument(visible)) for name in named)
            count = self.random.randrange(3) if depth < 2 else 0
            regions = tuple(self.block(visible, self.values(2), depth + 1) for _ in range(count))
            name = self.random.choice(["f", "special.g", "returns", "constant", "region", "update", "graph"])
            operations.append(Operation(name, arguments, self.values(2), attributes, regions))
            visible += operations[-1].outputs
        return Block(tuple(parameters), tuple(operations), self.some(visible, 3))

    def graph(self):
        constants, inputs = self.values(3), self.values(3)
        targets = dict.fromkeys(self.some((*constants, *inputs), 2))
        return Graph("g", self.block(constants, inputs), constants, tuple((t, t) for t in targets))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.lists(SCALARS, min_size=1, max_size=5))
def test_any_graph_reads_back(seed, scalars):
    graph = Maker(Random(seed), scalars).graph()
    text = format_graph(graph)
    assert parse_graph(text) == graph
    assert format_graph(parse_graph(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("graph g()\n", "ends early"),
        ("graph g(\n  return\n", "expected value"),
        ("graph g(%x: f32[2])\n  %y: f32[2] = f(%z)\n  return %y\n", "line 2: %z is not defined"),
        ("graph g(%x: f32[2])\n  %y: f32[2] = f(mean)\n  return %y\n", "strings are quoted"),
        ("graph g(%x: f32[2])\n    %y: f32[2] = f(%x)\n  return %y\n", "indentation 2"),
        ("graph g()\n  return\n  return\n", "the end of the graph"),
        ("graph g()\n  f() and more\n  return\n", "the end of the line"),
    ],
)
def test_malformed_text_names_the_line(text, message):
    with pytest.raises(SyntaxError, match=message):
        parse_graph(text)


# ---- meaning
def test_interpreter_runs_regions():
    x, w = np.arange(8.0).reshape(2, 4), np.eye(4)
    graph = parse_graph(EXAMPLE, {"w": w})
    for flag, sign in ((True, -1), (False, 1)):
        (out,), (new,) = interpret(graph, TABLE, x, np.array(flag))
        np.testing.assert_array_equal(out, sign * x + 3 * x)
        np.testing.assert_array_equal(new, 2 * w)
    np.testing.assert_array_equal(w, np.eye(4))


def test_while_that_never_runs_gives_what_it_was_given():
    graph = parse_graph(
        "graph g(%n: i64[])\n"
        "  %m: i64[] = while(%n)\n"
        "    region(%a: i64[])\n      %c: bool[] = gt(%a, 0)\n      return %c\n"
        "    region(%b: i64[])\n      %d: i64[] = sub(%b, 2)\n      return %d\n"
        "  return %m\n"
    )
    table = {"gt": operator.gt, "sub": operator.sub}
    assert [interpret(graph, table, n)[0] for n in (5, 4, 0, -3)] == [(-1,), (0,), (0,), (-3,)]


def test_interpreter_says_what_is_wrong():
    graph = parse_graph(EXAMPLE)
    x, flag = np.zeros((2, 4)), np.array(True)
    with pytest.raises(ValueError, match=r"constant %w: f32\[4, 4\] has no data"):
        interpret(graph, TABLE, x, flag)
    graph = replace(graph, data={"w": np.eye(4)})
    with pytest.raises(TypeError, match="takes 2 inputs, got 1"):
        interpret(graph, TABLE, x)
    with pytest.raises(ValueError, match=r"input %x: f32\[B, 4\] is needed, got shape \[2, 3\]"):
        interpret(graph, TABLE, np.zeros((2, 3)), flag)
    with pytest.raises(NotImplementedError, match="matmul: no meaning is given"):
        interpret(graph, {}, x, flag)
    with pytest.raises(ValueError, match="matmul: 1 results are expected, got 2"):
        interpret(graph, {"matmul": lambda a, b: (a, b)}, x, flag)


def test_a_named_size_is_the_same_everywhere():
    graph = parse_graph("graph g(%x: f32[B], %y: f32[B])\n  return %x\n")
    interpret(graph, {}, np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match="input %y"):
        interpret(graph, {}, np.zeros(3), np.zeros(2))


# ---- the verifier
def broken(text):
    return lambda: parse_graph("graph g(%x: f32[2], %c: bool[])\n" + text)


def with_operation(**parts):
    def build():
        graph = parse_graph("graph g(%x: f32[2], %c: bool[])\n  %y: f32[2] = f(%x)\n  return %y\n")
        return replace(graph, body=replace(graph.body, operations=(replace(graph.operations[0], **parts),)))

    return build


LOOP = """\
  %y: f32[2] = while(%x)
    region(%a: f32[2])
      return %c
    region(%b: f32[2])
      return %b
  return %y
"""
BROKEN = {
    "its name is letters, digits, dots and underscores": with_operation(outputs=(Value("a b", "f32", (2,)),)),
    "its name is defined once": broken("  %x: f32[2] = f()\n  return\n"),
    "its dtype is one of DTYPES": broken("  %y: float[2] = f()\n  return\n"),
    "its sizes are known: not negative, or named in an input's or a constant's shape":
        broken("  %y: f32[N] = f()\n  return\n"),
    "its name is known": broken("  %y: f32[2] = unheard_of(%x)\n  return %y\n"),
    "its arguments are values, numbers, strings, dtypes, None, or tuples and records of these":
        with_operation(arguments=([1],)),
    "each attribute is an identifier, and given once": broken("  %y: f32[2] = f(a=1, a=2)\n  return %y\n"),
    "the values it is given are defined before it, in sight of it":
        with_operation(arguments=(Value("later", "f32", ()),)),
    "only if and while have regions": broken("  f()\n    region()\n      return\n  return\n"),
    "it has two regions, and no attributes": broken("  if(%c)\n    region()\n      return\n  return\n"),
    "its argument is a 0-dimensional bool":
        broken("  if(%x)\n    region()\n      return\n    region()\n      return\n  return\n"),
    "its regions have no parameters":
        broken("  if(%c)\n    region(%a: f32[])\n      return\n    region()\n      return\n  return\n"),
    "its regions' results are as its outputs":
        broken("  %y: f64[2] = if(%c)\n    region()\n      return %x\n    region()\n      return %x\n  return %y\n"),
    "it has two regions, condition and body, and no attributes": broken(LOOP.replace("while(%x)", "while(%x, k=1)")),
    "its arguments are values, as its outputs": broken(LOOP.replace("%y: f32[2]", "%y: f64[2]")),
    "its regions' parameters are as its arguments": broken(LOOP.replace("%a: f32[2]", "%a: f32[3]")),
    "its condition gives a 0-dimensional bool": broken(LOOP.replace("return %c", "return %x")),
    "its body's results are as its outputs": broken(LOOP.replace("return %b", "return %c")),
    "its name is an identifier": lambda: replace(broken("  return\n")(), name="a b"),
    "its outputs are defined": lambda: replace(broken("  return\n")(), body=Block((), (), (Value("z", "f32", ()),))),
    "what is updated is an input or a constant, once":
        broken("  %y: f32[2] = f(%x)\n  return\n  update %y = %x\n"),
    "new values are defined, and as what they update": broken("  return\n  update %x = %c\n"),
    "its data belong to constants": lambda: replace(broken("  return\n")(), data={"x": 1}),
}  # fmt: skip


@pytest.mark.parametrize("rule", BROKEN)
def test_verifier_catches(rule):
    with pytest.raises(ValueError) as error:
        verify(BROKEN[rule](), {"f"})
    assert str(error.value).endswith(rule)


def test_every_rule_is_broken_above():
    rules = [*graph_verify.VALUE_RULES, *graph_verify.OPERATION_RULES, *graph_verify.GRAPH_RULES]
    rules += [rule for more in graph_verify.REGION_RULES.values() for rule in more]
    assert {name for name, _ in rules} == set(BROKEN)


def test_a_region_sees_out_and_nobody_sees_in():
    inside = (
        "  %y: f32[2] = if(%c)\n    region()\n      %a: f32[2] = f(%x)\n      return %a\n"
        "    region()\n      return %x\n"
    )
    verify(broken(inside + "  return %y\n")(), {"f"})
    for use in ("  return %a\n", "  %z: f32[2] = f(%a)\n  return %z\n"):
        with pytest.raises(ValueError):
            verify(broken(inside + use)(), {"f"})
    with pytest.raises(ValueError, match="its regions' results are defined"):
        verify(broken(inside.replace("return %x", "return %a") + "  return %y\n")(), {"f"})


def test_a_value_must_be_used_as_it_was_defined():
    with pytest.raises(ValueError, match="defined before it"):
        verify(with_operation(arguments=(Value("x", "f64", (2,)),))(), {"f"})


# ---- helpers
def test_uses_and_walk_reach_into_regions():
    graph = parse_graph(EXAMPLE)
    assert [o.outputs[0].name for o in walk(graph.body)] == ["0", "1", "2", "n", "3", "5", "6", "7", "8"]
    found = {value.name: [o.name for o in by] for value, by in uses(graph).items()}
    assert found["x"] == ["matmul", "add"]
    assert found["w"] == ["matmul", "multiply"]
    assert "3" not in found


def test_dead_code_goes_and_what_counts_stays():
    text = (
        "graph g(%x: f32[2], %c: bool[])\n  constant %w: f32[2]\n  constant %v: f32[2]\n"
        "  %0: f32[2] = f(%x)\n  %1: f32[2] = f(%w)\n  %2: f32[2] = f(%1)\n"
        "  %3: f32[2] = if(%c)\n    region()\n      %4: f32[2] = f(%0)\n      %5: f32[2] = f(%x)\n      return %5\n"
        "    region()\n      return %x\n"
        "  %6: f32[2] = f(%v)\n  return %3\n  update %x = %6\n"
    )
    graph = without_dead(parse_graph(text, {"w": 1, "v": 2}))
    assert [o.outputs[0].name for o in walk(graph.body)] == ["3", "5", "6"]
    assert [c.name for c in graph.constants] == ["v"] and graph.data == {"v": 2}
    verify(graph, {"f"})
    assert without_dead(graph) == graph


def test_substitute_replaces_uses_only():
    graph = parse_graph(EXAMPLE)
    x = graph.inputs[0]
    body = substitute(graph.body, {x: graph.operations[0].outputs[0]})
    assert body.parameters == graph.inputs
    assert not [o for o in walk(body) if x in o.inputs]
    assert substitute(body, {}) == body


def test_inlining_a_region_keeps_the_meaning():
    graph = parse_graph(EXAMPLE, {"w": np.eye(4)})
    loop = graph.operations[3]
    taken = {"x", "flag", "w"} | {v.name for o in walk(graph.body) for v in o.outputs} | {"a", "i", "b", "j"}
    operations, results = list(graph.operations[:3]), loop.inputs
    for _ in range(3):
        more, results = inlined(loop.regions[1], results, taken)
        operations += more
    unrolled = replace(graph, body=Block(graph.inputs, tuple(operations), results[:1]), updates=())
    verify(unrolled, TABLE)
    x = np.arange(8.0).reshape(2, 4)
    for flag in (True, False):
        (a,), _ = interpret(unrolled, TABLE, x, np.array(flag))
        (b,), _ = interpret(graph, TABLE, x, np.array(flag))
        np.testing.assert_array_equal(a, b)


def test_graphs_are_equal_whatever_their_data():
    assert parse_graph(EXAMPLE, {"w": np.eye(4)}) == parse_graph(EXAMPLE)
