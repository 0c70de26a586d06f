"""Checks of what a user passes to the functions of this package."""

import math

PLEASE_CALIBRATE = "`keras_rep.quantize.calibrate` returns all that it needs."


def check_choice(name, value, choices):
    """Raises `ValueError` if an argument is not one of its values."""
    if value not in choices:
        raise ValueError(
            f"Invalid value for `{name}`. Received: {name}={value!r}. "
            f"Expected one of {tuple(choices)}. Leave it out for "
            f"{choices[0]!r}."
        )


def check_names(name, names, known):
    """Raises `ValueError` if there are names that nothing has.

    Args:
        name: What the caller's user calls the names.
        names: Collection of names.
        known: Collection of those there are.
    """
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(
            f"Unknown names in `{name}`. Received: {unknown}. Expected names "
            f"of the deployed model, such as {sorted(known)[:8]}. Look them up "
            "with `keras_rep.deploy(model).summary()`."
        )


def check_ranges(ranges, sites, skipped=()):
    """Checks a user's ranges for a model.

    Args:
        ranges: What the user passes.
        sites: Dictionary of the model's `Site` objects by name.
        skipped: Names of sites that need no range.

    Raises:
        ValueError: If it is no dictionary of ranges, or if one is missing, is
            not of this model, is empty or infinite.
    """
    if not isinstance(ranges, dict):
        raise ValueError(
            f"`ranges` are not a dictionary. Received: {ranges!r}. Expected "
            f"names with pairs of numbers. {PLEASE_CALIBRATE}"
        )
    needed = [
        name
        for name, site in sites.items()
        if not site.fixed and name not in skipped
    ]
    members = {
        tensor.producer.layer.name: name
        for name, site in sites.items()
        for tensor in site.tensors
        if tensor.producer is not None
    }
    for name in sorted(set(ranges) - set(sites)):
        other = members.get(name)
        hint = f" '{name}' has the range of '{other}'." if other else ""
        raise ValueError(
            f"`ranges` do not fit the model. Received: a range for '{name}'. "
            f"Expected ranges for {needed[:8]} and so on.{hint} Leave it out."
        )
    missing = [name for name in needed if name not in ranges]
    if missing:
        raise ValueError(
            f"`ranges` do not fit the model. Received: none for {missing[:8]}. "
            f"Expected one for each of {len(needed)} names. {PLEASE_CALIBRATE}"
        )
    for name, limits in ranges.items():
        _check_range(name, limits)


def _check_range(name, limits):
    try:
        low, high = map(float, limits)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Invalid range of '{name}'. Received: {limits!r}. Expected two "
            "numbers, the smallest and the largest value. Write [low, high]."
        ) from error
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(
            f"Invalid range of '{name}'. Received: [{low}, {high}]. Expected "
            "finite numbers. Calibrate with data that holds none."
        )
    # A channel that is always zero has both at zero.
    if low > high or (low == high and low):
        raise ValueError(
            f"Invalid range of '{name}'. Received: [{low}, {high}]. Expected "
            "the smaller number first, and zero between them. Swap or mend "
            "them."
        )
    if low > 0 or high < 0:
        raise ValueError(
            f"Invalid range of '{name}'. Received: [{low}, {high}]. Expected "
            "zero to lie in it, since TFLite must hold it exactly. Write "
            f"[{min(low, 0.0)}, {max(high, 0.0)}]."
        )
