"""Classical analytics, one file each: pure where the pictures are small planes."""
