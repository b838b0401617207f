static inline int twice(const int* where) {
  return 2 * *where;
}
