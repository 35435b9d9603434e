// Reference-counted objects of one rendering. Not thread-safe: a heap and its objects belong to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "tokenizer/jinja/budget.h"

namespace quorum::tok::jinja {

class Heap;

/// Base of everything that a Value points to. What it holds is charged to the heap's budget.
class Object {
 public:
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object();  // called by the heap only

  void Retain() noexcept { ++references_; }
  void Drop() noexcept;

  Heap& heap() const { return heap_; }

 protected:
  /// Charges `bytes` for the object and what it holds.
  Object(Heap& heap, std::size_t bytes);

  /// Charges `bytes` more, for an object that grew.
  void Charge(std::size_t bytes);

 private:
  friend class Heap;

  Heap& heap_;
  std::size_t charged_;
  std::uint32_t references_ = 0;
  Object* next_retired_ = nullptr;
};

/// An object that changes after it was made, so that a reference cycle may lead through it.
class MutableObject : public Object {
 public:
  ~MutableObject() override;

  /// Drops all references that it holds.
  virtual void Clear() noexcept = 0;

 protected:
  MutableObject(Heap& heap, std::size_t bytes);

 private:
  friend class Heap;

  MutableObject* previous_ = nullptr;
  MutableObject* next_ = nullptr;
};

/// An owning pointer to a T, which derives from Object.
template <typename T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T* object) : object_(object) {
    if (object_ != nullptr) object_->Retain();
  }
  Ref(const Ref& other) : Ref(other.object_) {}
  template <typename U>
  Ref(const Ref<U>& other) : Ref(other.get()) {}  // NOLINT: a pointer to a derived type converts
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ != nullptr) object_->Drop();
  }

  T* get() const { return object_; }
  T& operator*() const { return *object_; }
  T* operator->() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
};

/// Makes objects and frees them. Freeing is never recursive, however deep the values are nested; cycles are freed when
/// the heap is, which must be after all Refs and Values outside the heap are gone.
class Heap {
 public:
  explicit Heap(Budget& budget) : budget_(budget) {}
  ~Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  Budget& budget() const { return budget_; }

  template <typename T, typename... Args>
  Ref<T> New(Args&&... args) {
    return Ref<T>(new T(*this, std::forward<Args>(args)...));
  }

 private:
  friend class Object;
  friend class MutableObject;

  void Retire(Object* object) noexcept;

  Budget& budget_;
  Object* retired_ = nullptr;
  bool freeing_ = false;
  MutableObject* mutable_ = nullptr;  // all living ones, in a doubly linked list
};

}  // namespace quorum::tok::jinja
