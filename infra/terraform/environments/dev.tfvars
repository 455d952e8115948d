environment      = "dev"
soft_delete_days = 0
