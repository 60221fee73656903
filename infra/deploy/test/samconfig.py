"""Holds `samconfig.toml` against the template, as SAM's own parsers read both: each parameter that it sets is one of the template, and
each one without a default is set. What is to be filled in stops a deployment until it is; all else is understood as it stands."""

import sys
import tomllib

from click import BadParameter
from samcli.cli.types import CfnParameterOverridesType
from samcli.yamlhelper import yaml_parse


def parsed(override):
    """None: SAM refuses it."""
    try:
        return CfnParameterOverridesType().convert([override], None, None)
    except BadParameter:
        return None


with open("template.yaml", encoding="utf-8") as file:
    parameters = yaml_parse(file.read())["Parameters"]
with open("samconfig.toml", "rb") as file:
    environments = {name: value for name, value in tomllib.load(file).items() if isinstance(value, dict)}
required, wrong = {name for name, parameter in parameters.items() if "Default" not in parameter}, []
for environment, commands in environments.items():
    missing = set(required)
    for override in commands["deploy"]["parameters"]["parameter_overrides"]:
        name, _, value = override.partition("=")
        missing.discard(name)
        if name not in parameters:
            wrong.append(f"{environment}: {name} is no parameter")
        elif not value and name not in required:
            wrong.append(f"{environment}: {name} may stay empty, and SAM refuses it like this: write ''")
        elif parsed(override) != ({name: value.strip("'")} if value else None):
            wrong.append(f"{environment}: SAM reads {override} as {parsed(override)}")
    wrong += [f"{environment}: {name} is not set" for name in sorted(missing)]
if wrong:
    sys.exit("\n".join(["samconfig:", *wrong]))
print(f"samconfig: {len(environments)} environments, each with the {len(required)} parameters that have no default")
