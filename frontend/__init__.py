"""What people see and touch: the control room, the administrator's pages and the API."""
