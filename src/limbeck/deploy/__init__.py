"""From a trained student to a folder that runs elsewhere: export, quantisation, the gate, the
bundle, its costs.
"""
