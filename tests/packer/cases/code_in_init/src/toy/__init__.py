import os

os.environ['X'] = '1'
