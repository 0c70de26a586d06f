"""A model as a program: calls of layers, for rules to rewrite."""

from keras import tree

from keras_rep import graph
from keras_rep.calls import OUTPUT, Call, Outcome, Tensor, spec_of


class Program:
    """The calls of a model.

    Args:
        model: Functional, sequential or subclassed model.
        outer: The `Program` of the model that holds it, if one does.

    Attributes:
        model: The original model.
        input_layers: Original layers of the inputs.
        inputs: Structure of `Tensor`.
        outputs: Structure of `Tensor`.
        output_names: Structure of the names of the layers that they came from.
        outcomes: The `Outcome` of each original layer, by its id.
        pruned: Calls that were taken out because nothing needs them.
    """

    def __init__(self, model, outer=None):
        self.model = model
        self.path = () if outer is None else (*outer.path, model.name)
        self.outcomes = {} if outer is None else outer.outcomes
        self._memo = {} if outer is None else outer._memo
        self._calls = {} if outer is None else outer._calls
        self.pruned = []
        with graph.read(model) as old:
            inputs = tree.flatten(old.inputs)
            self.input_layers = [graph.producer(x) for x in inputs]
            self.output_names = tree.map_structure(
                lambda x: graph.producer(x).name, old.outputs
            )
            tensors = {id(x): Tensor(x) for x in inputs}
            self.inputs = tree.map_structure(
                lambda x: tensors[id(x)], old.inputs
            )
            self.outputs = self._include(old, tensors, ())
        for tensor in tree.flatten(self.outputs):
            tensor.users.append(OUTPUT)

    @property
    def is_nested(self):
        return bool(self.path)

    def calls(self):
        """All calls, each behind those that it depends on."""
        ordered: dict[Call, None] = {}
        stack = [
            (tensor.producer, False)
            for tensor in reversed(tree.flatten(self.outputs))
        ]
        while stack:
            call, is_ready = stack.pop()
            if call is None or call in ordered:
                continue
            if is_ready:
                ordered[call] = None
                continue
            stack.append((call, True))
            stack += [(x.producer, False) for x in reversed(call.inputs)]
        return list(ordered)

    def calls_of(self, layer):
        """The calls of a layer, also those inside of other models."""
        calls = self._calls.get(id(layer), ())
        return [call for call in calls if call.layer is layer]

    def stands_for(self, source):
        """Whether a call stands for an original layer."""
        calls = self._calls.get(id(source), ())
        return any(call.source is source for call in calls)

    def once(self, make, *keys):
        """See `Call.once`."""
        key = tuple(k if isinstance(k, str | int) else id(k) for k in keys)
        if key not in self._memo:
            # The objects go along, so that their ids stay theirs.
            self._memo[key] = (make(), keys)
        return self._memo[key][0]

    def add(self, layer, args, source, scope, fill):
        """See `Call.emit`."""
        specs = layer.compute_output_spec(*tree.map_structure(spec_of, args))
        call = Call(layer, args, {}, source, self, scope, fill)
        return self.include(call, tree.flatten(specs))

    def include(self, call, specs):
        """Adds a call whose outputs have the given specs; returns the first."""
        call.outputs = [Tensor(spec, call) for spec in specs]
        self._register(call)
        return call.output

    def substitute(self, old, new):
        """Lets all users of one `Tensor` get another one.

        Calls that nothing needs any more are taken out.
        """

        def swap(value):
            return new if value is old else value

        for user in dict.fromkeys(old.users):
            if user is OUTPUT:
                self.outputs = tree.map_structure(swap, self.outputs)
            else:
                user.args = tree.map_structure(swap, user.args)
                user.kwargs = tree.map_structure(swap, user.kwargs)
        new.users += old.users
        old.users = []
        self._prune(old.producer)

    def _prune(self, call):
        """Takes out a call that has no users, and what only it needed."""
        stack = [call]
        while stack:
            call = stack.pop()
            if call is None or any(tensor.users for tensor in call.outputs):
                continue
            if call not in self._calls[id(call.layer)]:
                continue
            self.pruned.append(call)
            for key in {id(call.layer), id(call.source)}:
                self._calls[key].remove(call)
            for tensor in call.inputs:
                tensor.users.remove(call)
                stack.append(tensor.producer)

    def open(self, call):
        """Puts the inside of a composite layer in place of its call.

        Returns:
            List of the output tensors.

        Raises:
            DeployError: If its `call` cannot be traced.
        """
        layer = call.layer
        args, kwargs = tree.map_structure(spec_of, (call.args, call.kwargs))
        with graph.trace(layer, args, kwargs) as old:
            pairs = zip(tree.flatten(old.inputs), call.inputs, strict=True)
            tensors = {id(x): tensor for x, tensor in pairs}
            scope = (*call.scope, layer.name)
            return tree.flatten(self._include(old, tensors, scope))

    def _include(self, old, tensors, scope):
        """Adds the calls of a graph.

        Args:
            old: The `keras_rep.graph.Graph`.
            tensors: Dictionary from the ids of its tensors to `Tensor`
                objects, with its inputs already in it.
            scope: Names of the layers around it that were opened.

        Returns:
            The structure of its outputs.
        """
        for node in old.nodes:
            args, kwargs = node.fill_in(tensors)
            layer = node.operation
            call = Call(layer, args, kwargs, layer, self, scope)
            self.include(call, node.outputs)
            tensors |= {
                id(x): tensor
                for x, tensor in zip(node.outputs, call.outputs, strict=True)
            }
            if graph.is_functional(layer) and not call.is_pinned_to_training:
                call.body = self.once(lambda x=layer: Program(x, self), layer)
            else:
                self._note(call)
        return tree.map_structure(lambda x: tensors[id(x)], old.outputs)

    def _register(self, call):
        for key in {id(call.layer), id(call.source)}:
            self._calls.setdefault(key, []).append(call)
        for tensor in call.inputs:
            tensor.users.append(call)

    def _note(self, call):
        layer = call.layer
        path = "/".join([*self.path, *call.scope, layer.name])
        outcome = self.outcomes.setdefault(id(layer), Outcome(path, layer))
        outcome.input_shapes += [tensor.shape for tensor in call.inputs[:1]]
