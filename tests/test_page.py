"""The HTML report: its numbers, its validity, and how it acts in a browser."""

import html.parser
import itertools
import json
import re
import shutil
import subprocess

import keras
import pytest
from arrays import randomize
from cases import CASES
from keras import layers, ops

import keras_rep.layers as rep
from keras_rep.page import page as page_module
from keras_rep.page import write_report
from keras_rep.page.comparison import compare
from keras_rep.page.costs import cost_of, total_cost
from keras_rep.page.drawing import describe
from keras_rep.page.flow import read_model
from keras_rep.page.guidelines import measure
from keras_rep.page.layout import arrange
from keras_rep.runtime import Latency
from keras_rep.terms import Chain, Identity, Sum, Term

# Elements of an image of 8×8 pixels and 4 channels, and of a norm's weights.
IMAGE, NORM = 8 * 8 * 4, 4 * 4


def cost(*stack, shape=(8, 8, 4)):
    """What the last of some layers in a row costs."""
    model = keras.Sequential([keras.Input(shape), *stack])
    return cost_of(read_model(model).steps[-1])


@pytest.mark.parametrize(
    ("layer", "memory"),
    [
        (layers.Conv2D(6, 3, padding="same"), IMAGE + 64 * 6 + 9 * 24 + 6),
        (layers.Conv2D(6, 3, strides=2), IMAGE + 9 * 6 + 9 * 24 + 6),
        (layers.Conv2D(6, 1, groups=2), IMAGE + 64 * 6 + 12 + 6),
        (layers.DepthwiseConv2D(3), IMAGE + 36 * 4 + 36 + 4),
        (layers.Conv2DTranspose(2, 2, 2), IMAGE + 256 * 2 + 32 + 2),
        (layers.Dense(3), IMAGE + 64 * 3 + 12 + 3),
        (layers.BatchNormalization(), 2 * IMAGE + NORM),
        (layers.ReLU(), 2 * IMAGE),
        (layers.MaxPooling2D(), IMAGE + 16 * 4),
        (layers.Activation("linear"), 0),
        (layers.Dropout(0.5), 0),
        (layers.Flatten(), 0),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_memory_access_of_plain_layers(layer, memory):
    assert cost(layer).memory == memory


def test_a_separable_convolution_is_two():
    received = cost(layers.SeparableConv2D(6, 3, depth_multiplier=2))

    depthwise, pointwise = received.operations
    between = 36 * 8
    assert depthwise.memory == IMAGE + between + 9 * 8
    assert depthwise.channels.groups == 4
    assert pointwise.memory == between + 36 * 6 + 8 * 6 + 6
    assert pointwise.channels.is_pointwise
    assert received.depth == 2


def test_operations_read_all_their_inputs():
    inputs = keras.Input((8, 8, 4))
    x = layers.Add()([inputs, layers.ReLU()(inputs), inputs])
    x = ops.reshape(ops.multiply(x, inputs), (-1, 256))

    flow = read_model(keras.Model(inputs, x))

    _, relu, add, multiply, reshape = map(cost_of, flow.steps)
    assert add.memory == 4 * IMAGE
    assert multiply.memory == 3 * IMAGE
    assert reshape.operations == ()
    assert total_cost(flow).memory == (2 + 4 + 3) * IMAGE
    assert total_cost(flow).depth == 3
    for each in (relu, add, multiply):
        assert each.operations[0].is_elementwise


def test_unknown_sizes_stay_unknown():
    for layer in (layers.ReLU(), rep.RepConv(4), rep.RMBlock(4)):
        received = cost(layer, shape=(None, None, 4))

        assert received.memory is None
        assert received.operations


class Two(layers.Layer):
    """Two layers in one."""

    def __init__(self):
        super().__init__()
        self.first, self.second = layers.Conv2D(4, 1), layers.ReLU()
        self.is_traceable = True

    def build(self, input_shape):
        self.first.build(input_shape)

    def call(self, inputs):
        if not self.is_traceable:
            raise TypeError("no symbols")
        return self.second(self.first(inputs))


@pytest.mark.parametrize("is_traceable", [True, False])
def test_a_layer_made_of_layers_is_all_of_them(is_traceable):
    layer = Two()
    model = keras.Sequential([keras.Input((8, 8, 4)), layer])
    layer.is_traceable = is_traceable

    (_, step) = read_model(model, lambda layer: True).steps

    whole = 2 * IMAGE + 16 + 4 + 2 * IMAGE
    assert cost_of(step).memory == (whole if is_traceable else None)


@pytest.mark.parametrize("pixels", [8, None], ids=["own size", "any size"])
def test_nested_models_count_for_every_call(pixels):
    inner = keras.Sequential(
        [keras.Input((pixels, pixels, 4)), layers.ReLU(name="relu")],
        name="inner",
    )
    a, b = keras.Input((8, 8, 4)), keras.Input((8, 8, 4))
    model = keras.Model([a, b], layers.Add()([inner(a), inner(b)]))

    flow = read_model(model)

    paths = [step.path for step in flow.steps[2:4]]
    assert paths == ["inner/relu", "inner/relu"]
    assert flow.steps[-1].sources == (2, 3)
    assert total_cost(flow).memory == (2 + 2 + 3) * IMAGE


def test_models_that_are_always_in_training_are_read():
    inputs = keras.Input((8, 8, 4))
    norm = layers.BatchNormalization()(inputs, training=True)
    inner = keras.Model(inputs, norm)
    model = keras.Model(inputs, inner(inputs))

    assert total_cost(read_model(model)).memory == 2 * IMAGE + NORM


def test_branches_of_rep_conv():
    received = cost(rep.RepConv(4, activation="relu"))

    norm = 2 * IMAGE + NORM
    branches = (2 * IMAGE + 9 * 16 + norm) + (2 * IMAGE + 16 + norm) + norm
    assert received.memory == branches + 4 * IMAGE
    assert len(received.operations) == 6
    # A convolution, its normalization and the sum.
    assert received.depth == 3
    assert [x.is_elementwise for x in received.operations] == [
        False,
        True,
        False,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_branches_that_sample(data_format):
    is_last = data_format == "channels_last"
    layer = rep.RepConv(6, strides=2, data_format=data_format)
    layer.build((None, 8, 8, 4) if is_last else (None, 4, 8, 8))
    inputs = keras.Input((8, 8, 4) if is_last else (4, 8, 8))

    flow = read_model(keras.Model(inputs, layer(inputs)))

    small, norm = 16 * 6, 4 * 6
    convolutions = 2 * (IMAGE + small) + 9 * 24 + 24
    norms = 2 * (2 * small + norm)
    assert total_cost(flow).memory == convolutions + norms + 3 * small


def test_what_stands_before_the_sampling_term_sees_the_whole_image():
    received = cost(rep.DBBConv(4, strides=2)).operations

    small = 16 * 4
    pooled = [
        2 * IMAGE + 16,
        2 * IMAGE + NORM,
        IMAGE + small,
        2 * small + NORM,
    ]
    found = [operation.memory for operation in received]
    assert any(found[i : i + 4] == pooled for i in range(len(found)))


def test_slices_are_added_by_one_operation():
    kxk, norm, add, *_ = cost(rep.MobileOneConv(4)).operations

    wide = 4 * IMAGE
    assert kxk.memory == IMAGE + wide + 9 * 4 * 16
    assert norm.memory == 2 * wide + 4 * 16
    assert add.memory == wide + IMAGE
    assert add.is_elementwise


def test_an_online_kernel_is_one_convolution():
    kernel, norm = cost(rep.OREPAConv(6)).operations

    assert kernel.memory == IMAGE + 64 * 6 + 9 * 24
    assert norm.memory == 2 * 64 * 6 + 4 * 6


def test_reserved_channels_and_a_gate():
    received = cost(rep.RepConv(4, reserve_ratio=0.5, se_ratio=0.5))

    half = IMAGE // 2
    memory = [operation.memory for operation in received.operations]
    # Slice, k×k, norm, 1×1, norm, slice, norm, sum, concatenation; the gate.
    assert memory == [
        2 * half,
        IMAGE + half + 9 * 8,
        2 * half + 8,
        IMAGE + half + 8,
        2 * half + 8,
        2 * half,
        2 * half + 8,
        4 * half,
        2 * IMAGE,
        IMAGE + 4,
        4 + 2 + 10,
        2 + 2 + 6,
        4 + 4,
        2 * IMAGE + 4,
    ]


class Mixed(rep.TermLayer):
    """An identity, and two 3×3 convolutions that are one kernel."""

    def make_term(self, channels):
        chain = Chain(self.make_conv(8, 3), self.make_conv(self.filters, 3))
        return Sum(chain=chain, identity=Identity())


def test_an_identity_costs_nothing_and_chains_may_be_one_kernel():
    kernel, add = cost(Mixed(4, 5)).operations

    assert kernel.memory == 2 * IMAGE + 25 * 16
    assert add.memory == 3 * IMAGE


class Halved(rep.TermLayer):
    """A convolution and a term of its own."""

    def make_term(self, channels):
        return Chain(self.make_conv(self.filters, 1), Half())


class Half(Term):
    """Half of the image."""

    def call(self, inputs, training=None):
        return inputs / 2


def test_a_term_of_ones_own_is_one_operation():
    _, half = cost(Halved(6)).operations

    assert half.memory == 2 * 64 * 6
    assert half.channels is None


def test_a_residual_block_without_a_shortcut():
    received = cost(rep.RMInvertedResidual(6, strides=2))

    assert len(received.operations) == received.depth == 6
    # The expanded image, its normalization, and what reads it.
    wide, small = 6 * IMAGE, 16 * 6
    memory = (IMAGE + 3 * wide) + (wide + 3 * 16 * 24)
    memory += 16 * 24 + small + 2 * small
    weights = 4 * 24 + 4 * 24 + 9 * 24 + 4 * 24 + 24 * 6 + 4 * 6
    assert received.memory == memory + weights


def test_a_residual_block_with_a_projection():
    received = cost(rep.RMBlock(6, strides=2))

    small, norm = 16 * 6, 4 * 6
    row = (IMAGE + small + 9 * 24) + (2 * small + 9 * 36) + 2 * norm
    row += 2 * 2 * small
    projection = 16 * 4 + small + 24 + 2 * small + norm
    assert received.memory == row + projection + 3 * small
    assert received.depth == 5


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if "se_ratio" not in case.arguments],
    ids=str,
)
def test_operations_make_up_the_multiply_adds(case):
    layer, shape = case.make(), (9, 12, case.channels)
    layer.build((None, *shape))

    operations = cost(layer, shape=shape).operations

    # Every weight of these convolutions meets every pixel of its filter.
    assert sum(
        x.weights // x.channels.outputs * x.writes
        for x in operations
        if x.channels is not None
    ) == layer.multiply_adds((None, *shape))


@pytest.fixture
def net():
    """A net of whose every figure is known."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            rep.RepConv(4, name="block"),
            layers.ReLU(name="relu"),
            layers.Conv2D(16, 1, name="point"),
            layers.BatchNormalization(name="norm"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.Conv2D(4, 1, groups=2, name="grouped"),
        ],
        name="net",
    )
    randomize(model)
    return model


def test_guidelines_before_and_after(net):
    comparison = compare(net, None)
    before, after = (
        measure(side.cost) for side in (comparison.before, comparison.after)
    )

    # The 1×1 branch of the block, `point` and `grouped`; then the last two.
    assert (before.pointwise, after.pointwise) == (3, 2)
    assert (before.equal, after.equal) == (1, 0)
    assert (before.ratio, after.ratio) == (4.0, 4.0)
    assert (before.grouped, after.grouped) == (1, 1)
    assert (before.depthwise, after.depthwise) == (1, 1)
    assert (before.groups, after.groups) == (16, 16)
    # Six operations in the block, three of them in a row.
    assert (before.operations, after.operations) == (6 + 5, 4)
    assert (before.depth, after.depth) == (3 + 5, 4)
    assert before.fragmentation == 11 / 8
    # Three norms and a sum in the block, `relu` and `norm`.
    assert (before.elementwise, after.elementwise) == (4 + 2, 0)
    block = 3 * (2 * IMAGE + NORM) + 4 * IMAGE
    elementwise = block + 2 * IMAGE + 2 * 4 * IMAGE + 4 * 16
    memory = comparison.before.cost.memory
    assert before.share == elementwise / memory
    assert after.share == 0.0
    # Equal numbers of channels would be 8, of the same product.
    point, grouped = 64 * (4 + 16) + 64 + 16, 36 * (16 + 4) + 32 + 4
    least = 64 * (8 + 8) + 64 + 16 + 36 * (8 + 8) + 32 + 4
    assert after.excess == pytest.approx((point + grouped) / least - 1)


def test_guidelines_of_nothing():
    received = measure(cost(layers.Flatten()))

    assert received.ratio is None
    assert received.fragmentation == received.share == received.excess == 0.0
    unknown = measure(cost(layers.Conv2D(4, 1), shape=(None, None, 4)))
    assert unknown.share is unknown.excess is None


def test_depthwise_is_one_channel_in_each_group():
    single = measure(cost(layers.Conv2D(4, 1), shape=(8, 8, 1)))
    depthwise = measure(cost(layers.DepthwiseConv2D(1)))

    assert (single.pointwise, single.depthwise) == (1, 0)
    assert single.ratio == 4.0
    assert (depthwise.pointwise, depthwise.depthwise) == (0, 1)


def test_a_strided_convolution_has_no_least_memory_access():
    assert measure(cost(layers.Conv2D(16, 1, strides=2))).excess == 0.0


def test_memory_access_before_and_after(net):
    rows = {row.report.path: row for row in compare(net, None).rows}

    pair = {path: [x.memory for x in row.costs] for path, row in rows.items()}
    point = 5 * IMAGE + 64 + 16
    assert pair["block"][1] == 2 * IMAGE + 9 * 16 + 4
    assert pair["relu"] == [2 * IMAGE, 0]
    assert pair["point"] == [point, point]
    assert pair["norm"] == [8 * IMAGE + 64, 0]


def test_a_gate_costs_as_much_after_as_before():
    model = keras.Sequential(
        [keras.Input((8, 8, 4)), rep.RepConv(4, se_ratio=0.5)]
    )
    randomize(model)

    (row,) = compare(model, None).rows

    before, after = (cost.operations for cost in row.costs)
    assert [x.memory for x in after[1:5]] == [x.memory for x in before[-4:]]


def test_boxes_go_with_the_rows_they_came_from():
    inputs = keras.Input((8, 8, 4))
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
        ],
        name="inner",
    )
    model = keras.Model(inputs, layers.Flatten(name="flat")(inner(inputs)))
    randomize(model)

    comparison = compare(model, None)

    paths = [row.report.path for row in comparison.rows]
    assert paths == ["inner/conv", "inner/norm", "inner/relu", "flat"]
    assert comparison.before.rows == [(), (0,), (1,), (2,), (3,)]
    assert comparison.after.rows == [(), (0, 1, 2), (3,)]
    assert comparison.before.layer_count == 5
    assert comparison.after.layer_count == 3


def test_shared_layers_count_once_but_cost_twice():
    inputs, relu = keras.Input((8, 8, 4)), layers.ReLU()
    model = keras.Model(inputs, relu(relu(inputs)))

    comparison = compare(model, None)

    assert comparison.before.layer_count == 2
    assert comparison.rows[0].costs[1].memory == 4 * IMAGE


def test_layout_of_a_branch():
    # 0 → 2 → 3 → 4, and 0 → 4 past them; only 4 needs 1.
    places = arrange([(), (), (0,), (2,), (3, 0, 1)], 100, 10)

    assert places.levels[:5] == [0, 2, 1, 2, 3]
    assert places.height == 4
    # The line from 0 to 4 bends on the two levels that it passes.
    assert places.levels[5:] == [1, 2]
    assert sorted(places.segments) == [
        (0, 2),
        (0, 5),
        (1, 4),
        (2, 3),
        (3, 4),
        (5, 6),
        (6, 4),
    ]


def test_boxes_and_lines_keep_their_distance(rng):
    sources: list[tuple] = []
    for index in range(60):
        count = min(index, int(rng.integers(0, 4)))
        chosen = rng.choice(index, count, replace=False) if count else ()
        sources.append(tuple(map(int, chosen)))

    places = arrange(sources, 100, 10)

    halves = [50] * 60 + [0] * (len(places.levels) - 60)
    for level in range(places.height):
        line = sorted(
            (places.centres[i], halves[i])
            for i, each in enumerate(places.levels)
            if each == level
        )
        assert line[0][0] >= line[0][1] - 1e-6
        assert line[-1][0] <= places.width - line[-1][1] + 1e-6
        for (a, half), (b, other) in itertools.pairwise(line):
            assert b - a >= half + other + 10 - 1e-6
    for source, target in places.segments:
        assert places.levels[target] == places.levels[source] + 1


def test_a_row_of_layers_is_straight():
    places = arrange([(), (0,), (1,), (2,)], 100, 10)

    assert places.centres == [50.0] * 4
    assert places.width == 100


def test_boxes_say_what_layers_are():
    described = [
        describe(layer)
        for layer in (
            layers.Conv2D(8, (3, 1), strides=2),
            layers.Conv2D(8, 1, strides=(1, 2)),
            layers.DepthwiseConv2D(3),
            layers.Dense(7),
            layers.ReLU(),
        )
    ]

    assert described == [
        "Conv2D 3×1 /2 → 8",
        "Conv2D 1×1 /1×2 → 8",
        "DepthwiseConv2D 3×3",
        "Dense → 7",
        "ReLU",
    ]


def test_long_names_are_cut(tmp_path):
    name = "long_" * 9 + "end"
    model = keras.Sequential([keras.Input((4,)), layers.ReLU(name=name)])

    path = write_report(model, tmp_path / "report.html")

    text = path.read_text(encoding="utf-8")
    assert f">…{name[-26:]}</text>" in text
    assert f"<title>{name}\nReLU\noutput 4</title>" in text


class Checker(html.parser.HTMLParser):
    """Collects what is wrong with a page."""

    VOID = frozenset({"meta", "path", "rect", "link", "br", "img"})

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.attributes, self.text, self.ids = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text.append(data)


def parse(path):
    checker = Checker()
    checker.feed(path.read_text(encoding="utf-8"))
    checker.close()
    return checker


@pytest.fixture
def page(net, tmp_path):
    return write_report(net, tmp_path / "report.html")


def test_the_page_is_whole(page):
    parsed = parse(page)

    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))
    labels = {
        v for _, name, v in parsed.attributes if name == "aria-labelledby"
    }
    assert labels == {"layers", "guidelines", "by-layer"}
    assert labels <= set(parsed.ids)
    # Nothing of the template is left over.
    assert not re.search(r"\$[a-z_]+", page.read_text(encoding="utf-8"))


def test_the_page_needs_no_network(page):
    text = page.read_text(encoding="utf-8")

    assert not re.search(r"https?:|@import|url\(|<link|<img|fetch\(", text)
    names = {name for _, name, _ in parse(page).attributes}
    assert not names & {"src", "href", "srcset", "style", "onclick"}
    assert "default-src 'none'" in text


def test_the_page_says_what_happened(page):
    text = " ".join(parse(page).text)

    for expected in (
        "Deployment of net",
        f"Keras {keras.__version__}",
        f"on {keras.backend.backend()}",
        "7 → 5",
        "deploy_rep_layer",
        "part of 'point'",
        "G4 Few element-wise",
        "within 3.5e-04",
    ):
        assert expected in re.sub(r"\s+", " ", text)


def test_states_of_boxes(page):
    text = page.read_text(encoding="utf-8")
    before, after = (
        re.findall(r'class="box (\w+)( end)?" data-rows="([\d ]*)"', part)
        for part in re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    )

    assert before == [
        ("kept", "", ""),
        ("replaced", "", "0"),
        ("dissolved", "", "1"),
        ("kept", "", "2"),
        ("dissolved", "", "3"),
        ("kept", "", "4"),
        ("kept", " end", "5"),
    ]
    assert after == [
        ("kept", "", ""),
        ("replaced", "", "0 1"),
        ("replaced", "", "2 3"),
        ("kept", "", "4"),
        ("kept", " end", "5"),
    ]


def test_names_are_escaped(tmp_path):
    name = "a<script>&\"'b"
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(4, 1, name=name),
            # The table names the layer that takes it up.
            layers.BatchNormalization(),
        ],
        name=f"net {name}",
    )
    randomize(model)
    path = tmp_path / "report.html"

    write_report(model, path)

    parsed = parse(path)
    assert parsed.open == []
    assert "<script>&" not in path.read_text(encoding="utf-8")
    text = "".join(parsed.text)
    assert text.count(f"net {name}") == 2
    assert f"part of '{name}'" in text
    assert name in text.replace(f"net {name}", "").replace(f"'{name}'", "")


def test_unknown_numbers_are_question_marks(tmp_path):
    model = keras.Sequential([keras.Input((None, None, 4)), rep.RepConv(4)])
    randomize(model)

    path = write_report(model, tmp_path / "report.html")

    text = path.read_text(encoding="utf-8")
    assert "? → ?" in text
    # Multiply-adds and memory access, before and after.
    assert 4 * '<td class="number" data-value="">?</td>' in text


def test_measured_files(net, tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("float.tflite", "int8.tflite")]
    for path, size in zip(paths, (4096, 1024), strict=True):
        path.write_bytes(bytes(size))
    given = []

    def measure_none(paths):
        given.extend(paths)
        times = [(4e-4, 3e-4, 5e-4), (1e-4, 1e-4, 2e-4)]
        pairs = zip(paths, times, strict=True)
        return [Latency(str(path), *row) for path, row in pairs]

    monkeypatch.setattr(page_module, "latencies", measure_none)
    files = dict(zip(("float & <b>", "int8"), paths, strict=True))

    path = write_report(net, tmp_path / "report.html", files=files)

    assert given == paths
    parsed = parse(path)
    text = "|".join(parsed.text)
    assert "float & <b>|4.0 KiB|400 µs|300 to 500 µs|1.00" in text
    assert "int8|1.0 KiB|100 µs|100 to 200 µs|0.25" in text
    assert "files" in parsed.ids


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.tflite"], "Expected a dictionary"),
        ({"a": __file__}, "another kind"),
        ({"a": "none.tflite"}, "no such file"),
    ],
)
def test_bad_files_leave_nothing(net, tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        write_report(net, tmp_path / "report.html", files=files)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("report.txt", "ends in '.html'"),
        ("none/report.html", "folder that does not exist"),
    ],
)
def test_bad_paths(net, tmp_path, name, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        write_report(net, tmp_path / name)


def test_bad_models_and_rules_leave_nothing(net, tmp_path):
    path = tmp_path / "report.html"

    with pytest.raises(ValueError, match=r"Expected a `keras.Model`"):
        write_report(layers.ReLU(), path)
    with pytest.raises(ValueError, match="Invalid rules"):
        write_report(net, path, rules=["fold"])

    assert list(tmp_path.iterdir()) == []


def test_rules_are_followed(net, tmp_path):
    path = write_report(net, tmp_path / "report.html", rules=[])

    text = path.read_text(encoding="utf-8")
    assert "7 → 7" in text
    assert "unchanged" in text


# What a reader does, and what there is to see then.
ACTIONS = """
<script>
const table = document.querySelector("table.sortable");
const heads = table.querySelectorAll("thead th");
const names = () => [...table.tBodies[0].rows].map(
  (row) => row.cells[0].textContent);
const seen = { start: names() };
const click = (column) => {
  heads[column].querySelector("button").click();
  return { names: names(), sorts: [...heads].map((head) => head.ariaSort) };
};
seen.byText = click(0);
seen.ascending = click(3);
seen.descending = click(3);
seen.none = click(3);
["0.5", "", "0.25", "1e-05", "10", "9"].forEach((value, index) => {
  table.tBodies[0].rows[index].cells[3].dataset.value = value;
});
seen.numbers = [click(3).names, click(3).names, click(3).names];
const [before, after] = document.querySelectorAll(".view");
const marked = (view) => [...view.querySelectorAll(".box.marked title")].map(
  (title) => title.textContent.split("\\n")[0]);
const box = after.querySelector('[data-rows="2 3"]');
box.dispatchEvent(new Event("mouseenter"));
seen.pointed = [marked(before), marked(after)];
box.dispatchEvent(new Event("mouseleave"));
seen.left = [marked(before), marked(after)];
table.querySelector('[data-rows="3"] button').click();
seen.held = [marked(before), marked(after)];
document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
seen.escaped = [marked(before), marked(after)];
const svg = before.querySelector("svg");
const width = svg.getBoundingClientRect().width;
document.querySelector("[data-zoom=in]").click();
seen.zoom = svg.getBoundingClientRect().width / width;
seen.overflow = document.documentElement.scrollWidth > window.innerWidth;
const result = document.createElement("pre");
result.id = "seen";
result.textContent = JSON.stringify(seen);
document.body.append(result);
</script>
</body>
"""


@pytest.mark.skipif(
    shutil.which("chromium") is None,
    reason="there is no `chromium` to open the page in",
)
def test_the_page_in_a_browser(page, tmp_path):
    driven = tmp_path / "driven.html"
    text = page.read_text(encoding="utf-8")
    driven.write_text(text.replace("</body>", ACTIONS), encoding="utf-8")

    run = subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--dump-dom",
            "--virtual-time-budget=2000",
            "--window-size=900,900",
            f"--user-data-dir={tmp_path / 'profile'}",
            driven.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    (found,) = re.findall(r'<pre id="seen">(.*?)</pre>', run.stdout)
    seen = json.loads(html.unescape(found))
    start = ["block", "relu", "point", "norm", "depthwise", "grouped"]
    assert seen["start"] == start
    assert seen["byText"]["names"] == sorted(start)
    assert seen["byText"]["sorts"][:2] == ["ascending", "none"]
    # By parameters: none, 36, 64, 80, 160, 208; equal ones keep their order.
    ascending = ["relu", "grouped", "norm", "point", "depthwise", "block"]
    assert seen["ascending"]["names"] == ascending
    assert seen["ascending"]["sorts"][:4] == ["none"] * 3 + ["ascending"]
    assert seen["descending"]["names"] == ascending[::-1]
    assert seen["none"]["names"] == start
    assert set(seen["none"]["sorts"]) == {"none"}
    # As numbers, and what is unknown always at the end.
    rising = ["norm", "point", "block", "grouped", "depthwise"]
    assert seen["numbers"][:2] == [[*rising, "relu"], [*rising[::-1], "relu"]]
    assert seen["pointed"] == [["point", "norm"], ["point"]]
    assert seen["left"] == [[], []]
    assert seen["held"] == [["norm"], ["point"]]
    assert seen["escaped"] == [[], []]
    assert seen["zoom"] == 1.25
    assert not seen["overflow"]
