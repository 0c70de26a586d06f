"""Rewriting a program by rules, until none fits any more.

A rule is a function of a `keras_rep.calls.Call`. It returns the `Tensor`
that takes the place of the call's output, or `None` where it does not fit;
where it fits but must not act, it raises `Skip` with the reason.
"""

import keras
from keras import layers, tree

from keras_rep import graph
from keras_rep.errors import DeployError, Skip
from keras_rep.layers import RepLayer


def rewrite(program, rules, advance=lambda: None):
    """Applies rules to every call of a program, over and over.

    Args:
        program: The `keras_rep.program.Program`. It is changed.
        rules: Functions, applied in this order.
        advance: Function called for each call that is visited.
    """
    is_changing = True
    while is_changing:
        is_changing = False
        for call in program.calls():
            _forget_reasons(program, call)
        for rule in (*rules, open_composite_layer):
            for call in program.calls():
                advance()
                if call in program.calls_of(call.layer):
                    is_changing |= _apply(program, rule, call)
    bodies = [call.body for call in program.calls() if call.body is not None]
    for body in dict.fromkeys(bodies):
        program.once(lambda x=body: rewrite(x, rules, advance), rewrite, body)


def open_composite_layer(call):
    """`Composite(x)` → the layers that its `call` calls.

    Composite layers are opened where they hold re-parameterizable layers, or
    are a user's own and hold batch normalizations.
    """
    layer = call.layer
    if not isinstance(layer, keras.Layer) or isinstance(layer, RepLayer):
        return None
    is_needed = graph.contains(layer, RepLayer)
    is_worthwhile = graph.contains(layer, layers.BatchNormalization)
    if call.body is not None or not (is_needed or is_worthwhile):
        return None
    if call.is_pinned_to_training:
        raise Skip("it is called with `training=True`")
    if not is_needed and graph.is_built_in(layer):
        raise Skip("layers of Keras are not opened, and this one holds others")
    try:
        outputs = call.program.open(call)
    except DeployError as error:
        if is_needed:
            raise
        raise Skip(f"it cannot be opened: {error}") from error
    call.program.outcomes.pop(id(layer), None)
    return outputs


def name_of(rule):
    """The name of a rule, which may be a `functools.partial`."""
    return getattr(rule, "func", rule).__name__


def _apply(program, rule, call):
    """Applies a rule to a call; returns whether it did anything."""
    outcome = program.outcomes.get(id(call.source))
    try:
        replacement = rule(call)
    except Skip as skip:
        _note_reason(program, skip.call or call, skip.reason)
        return False
    if replacement is None:
        return False
    new = tree.flatten(replacement)
    home = None
    if replacement not in call.inputs:
        home = program.outcomes.get(id(new[0].producer.source))
    for pair in zip(call.outputs, new, strict=True):
        program.substitute(*pair)
    if outcome is not None:
        outcome.rule = name_of(rule)
    for gone in program.pruned:
        dissolved = program.outcomes.get(id(gone.source))
        if dissolved is not None and not program.stands_for(gone.source):
            _dissolve(dissolved, home, name_of(rule))
    program.pruned.clear()
    return True


def _dissolve(outcome, home, rule):
    """Notes that a layer is gone, and which one took it up, if one did."""
    outcome.reasons.clear()
    outcome.rule = rule
    outcome.home = home and home.path
    if home is not None and outcome.path not in home.takes_up:
        home.takes_up.append(outcome.path)


def _note_reason(program, call, reason):
    outcome = program.outcomes.get(id(call.source))
    if outcome is not None and reason not in outcome.reasons:
        outcome.reasons.append(reason)


def _forget_reasons(program, call):
    outcome = program.outcomes.get(id(call.source))
    if outcome is not None:
        outcome.reasons.clear()
