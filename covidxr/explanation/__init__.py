"""Why a network said what it said: attributions by Captum."""
