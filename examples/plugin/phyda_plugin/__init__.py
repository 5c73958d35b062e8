"""Plug-ins for phyda, each in a module of its own."""
