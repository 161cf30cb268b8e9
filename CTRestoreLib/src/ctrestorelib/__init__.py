"""CTRestore: restoration of CT volumes and reconstruction from few X-ray views.

Research use only: not for primary diagnosis.
"""

__version__ = "0.1.0"
