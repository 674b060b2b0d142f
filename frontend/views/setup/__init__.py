"""Setting up on screen: a camera, its zones, its rules, and who is told. For administrators."""
