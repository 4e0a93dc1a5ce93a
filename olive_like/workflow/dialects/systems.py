"""Where things run: `systems`, `host` and `target`."""

from __future__ import annotations

_TYPES = {
    "localsystem": "LocalSystem",
    "local": "LocalSystem",
    "pythonenvironment": "PythonEnvironment",
    "pythonenvironmentsystem": "PythonEnvironment",
    "docker": "Docker",
    "dockersystem": "Docker",
    "isolatedort": "IsolatedORT",
    "azureml": "AzureML",
}
