"""Search: integers in; the best choice, where it goes and its bound, out. The only room that imports ortools.

It knows no fleet, plan, byte or model. ``problem`` is what it is asked, ``optimise`` answers: ``points`` are the
candidates an optimum can need, ``model`` the choice as CP-SAT variables and rows, ``placing`` the GPUs in them,
``chain`` maximises one objective after another, ``packing`` and ``decompose`` place what is too many to decide at once.
"""
