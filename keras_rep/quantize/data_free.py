def normal_ranges(model, margin):
    raise NotImplementedError
