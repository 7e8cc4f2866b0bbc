"""What programs reach for in PyTorch's insides: modules that answer under `torch` alone, by the table in `places.py`.

May import everything. Read next: `../places.py`, `../names.py`.
"""
