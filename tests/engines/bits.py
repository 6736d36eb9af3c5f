"""Run as a program: measure sites, and keep every bit.

    python -m tests.engines.bits ENGINE PIPELINE SITES.npz OUTPUT.npz

SITES: `<site>/<image>`. OUTPUT: `<site>/<object set>/<feature>`, `<site>/labels/<object set>`.
"""

import sys

import numpy as np

from pipeline.engines import open_engine

if __name__ == "__main__":
    kind, text, source, output = sys.argv[1:]
    sites: dict[str, dict[str, np.ndarray]] = {}
    with np.load(source) as given:
        for name in given.files:
            site, image = name.split("/")
            sites.setdefault(site, {})[image] = given[name]
    results = {}
    with open_engine(kind, text) as engine:
        for name, site in sites.items():
            measured = engine.measure({image: site[image] for image in engine.inputs})
            for object_set, objects in measured.objects.items():
                results |= {
                    f"{name}/{object_set}/{feature}": column
                    for feature, column in zip(objects.features, objects.values.T, strict=True)
                }
            results |= {f"{name}/labels/{object_set}": labels for object_set, labels in measured.labels.items()}
            results |= {f"{name}/Image/{feature}": np.array(value) for feature, value in measured.image.items()}
    np.savez(output, **results)
