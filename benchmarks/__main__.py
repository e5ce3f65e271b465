"""`python -m benchmarks`: make the page of the committed results anew; `make bench` measures."""

from benchmarks.page import write_page

if __name__ == "__main__":
    print(write_page())
