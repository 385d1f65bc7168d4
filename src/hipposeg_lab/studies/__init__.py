"""What finished runs tell when they are looked at again, after their scores: what inflates a score, what goes wrong.

Studies read what runs have stored, their tables and masks, or ask their networks again, and write CSV files to
`artifacts/<ws>/studies/`.
"""
