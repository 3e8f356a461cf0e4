"""Long-context data and training: LongAttn selection and token weighting.

The library takes arrays, models, devices and seeds and gives arrays back; it knows neither the
workflow, nor its settings, nor where files lie. Import its modules by name, for example
``from longspan.weights import token_weights``.
"""
