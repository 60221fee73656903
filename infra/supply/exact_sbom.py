"""A bill of materials by cargo-cyclonedx, without what is not in the function: the tool takes every feature that anything in the
workspace asks of a crate, and with it crates that only others link. Standard input is what `cargo tree` says is linked.
Nothing of the machine or the moment is left in it, so that the same sources give the same bill.
"""

import json
import sys


def main():
    linked = {tuple(line.split()[:2]) for line in sys.stdin if line.strip()}
    with open(sys.argv[1]) as file:
        bill = json.load(file)
    main_component = bill["metadata"]["component"]
    components = [each for each in bill["components"] if (each["name"], "v" + each["version"]) in linked]
    known = {each["name"] for each in [main_component, *components]}
    missing = sorted({name for name, _ in linked} - known)
    if missing:
        sys.exit(f"error: linked, but not in the bill: {', '.join(missing)}")

    names = {each["bom-ref"]: f"pkg:cargo/{each['name']}@{each['version']}" for each in [main_component, *components]}
    for each in [main_component, *components]:
        each["bom-ref"] = each["purl"] = names[each["bom-ref"]]
        # The targets of a package of ours, by their paths.
        each.pop("components", None)
    del bill["serialNumber"], bill["metadata"]["timestamp"]
    bill["components"] = sorted(components, key=lambda each: each["bom-ref"])
    bill["dependencies"] = sorted(
        (
            {"ref": names[each["ref"]], "dependsOn": sorted(names[on] for on in each.get("dependsOn", []) if on in names)}
            for each in bill["dependencies"]
            if each["ref"] in names
        ),
        key=lambda each: each["ref"],
    )
    json.dump(bill, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
