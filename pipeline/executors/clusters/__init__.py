"""The kinds of cluster, one file each: `cluster: slurm` and `cluster: slurm://partition` are opened by `slurm.py`.

A file has `open(config, say) -> Executor`. `docs/extending.md` has an example.
"""
