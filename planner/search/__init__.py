"""Search: integers in; the best choice, where it goes and its bound, out. The only room that imports ortools.

It knows no fleet, plan, byte or model. ``problem`` is what it is asked, ``optimise`` answers: ``pieces`` are the
candidates an optimum can need, because no others beat them (``beaten``); ``bounds`` and ``narrow`` leave those of them
that reach as much as a known plan, and ``known`` finds one, with the ``prices`` of memory, before all candidates are
there; ``nested`` is the best choice of roles with one server each, without the solver; ``model`` is the choice as
CP-SAT variables and rows, ``placing`` the GPUs in them, ``turns`` who shares their bytes; ``chain`` maximises one
objective after another, ``packing`` and ``decompose`` place what is too many to decide at once.
"""
