"""What the tensors of RepVGG and MobileOne are called, and timm's of both."""

from keras_rep.models.naming import STAR, Naming

REPVGG = Naming(
    "RepVGG's repository",
    (
        (r"^stem/", "stage0/"),
        (r"^stage(\d+)_(\d+)/", r"stage\1.\2/"),
        (r"^classifier/", "linear/"),
        (r"/branches/(sum/)?kxk/conv/", "/rbr_dense/conv/"),
        (r"/branches/(sum/)?kxk/norm/", "/rbr_dense/bn/"),
        (r"/branches/point/conv/", "/rbr_1x1/conv/"),
        (r"/branches/point/norm/", "/rbr_1x1/bn/"),
        (r"/branches/identity/", "/rbr_identity/"),
        (r"/gate/reduce/", "/se/down/"),
        (r"/gate/expand/", "/se/up/"),
    ),
)
MOBILE_ONE = Naming(
    "MobileOne's repository",
    (
        (r"^stem/", "stage0/"),
        (r"^stage(\d+)_(\d+)/", r"stage\1.\2/"),
        (r"^classifier/", "linear/"),
        (r"/branches/kxk/conv/", f"/rbr_conv.{STAR}.conv/"),
        (r"/branches/kxk/norm/", f"/rbr_conv.{STAR}.bn/"),
        (r"/branches/point/conv/", "/rbr_scale.conv/"),
        (r"/branches/point/norm/", "/rbr_scale.bn/"),
        (r"/branches/identity/", "/rbr_skip/"),
        (r"/gate/", "/se/"),
    ),
)


def _timm(source, kxk, point):
    return Naming(
        source,
        (
            (r"^stage(\d+)_(\d+)/", _from_zero),
            (r"^classifier/", "head.fc/"),
            (r"/branches/kxk/conv/", f"/{kxk}.conv/"),
            (r"/branches/kxk/norm/", f"/{kxk}.bn/"),
            (r"/branches/point/conv/", f"/{point}.conv/"),
            (r"/branches/point/norm/", f"/{point}.bn/"),
            (r"/branches/identity/", "/identity/"),
            (r"/gate/reduce/", "/attn.fc1/"),
            (r"/gate/expand/", "/attn.fc2/"),
        ),
    )


def _from_zero(found):
    return f"stages.{int(found[1]) - 1}.{found[2]}/"


NAMINGS = (
    REPVGG,
    MOBILE_ONE,
    _timm("timm's RepVGG", "conv_kxk", "conv_1x1"),
    _timm("timm's MobileOne", f"conv_kxk.{STAR}", "conv_scale"),
)
