"""The control room's pages. Each asks ``frontend.permissions`` before it shows anything."""
