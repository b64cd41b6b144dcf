"""What people read: drawings, tables and reports, made from results. They compute nothing."""
