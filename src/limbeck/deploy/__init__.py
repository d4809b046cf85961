"""Deployment of a trained student: export, quantisation, bundle, costs, demo and text samples."""
