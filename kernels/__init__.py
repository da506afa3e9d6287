"""Fused operations. Each file reads top to bottom: formula, reference, Triton kernels, operator, operation.

They share `dispatch` (what runs), `groups` (rows of tables by token), `segments` (clips in a row), `rows`, `counters`,
`noise` and `dot`.
What is known of them: `cases` has every operation once, with its inputs and the bytes that it cannot do without,
`exact` says how exact one is, `record` what it launches, `binary` what that is compiled to, and `ledger` keeps it.

Imported as `avctl.kernels`. With the root of the repository on the path they are found as `kernels` too, by libraries
that look for a package of that name on PyPI; the version tells them that this is not the one.
"""

__version__ = "0"
