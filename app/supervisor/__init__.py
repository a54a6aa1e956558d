"""`conviction up`: starts a model server and the gateway, restarts each when it exits, and stops both.

`command` parses the arguments, `up` contains the sequence of steps, and a `Service` keeps one `Process` running.
"""
