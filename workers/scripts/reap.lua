-- Expired leases and due delays; gives how many jobs became ready.
return wake()
